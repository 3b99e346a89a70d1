import { useEffect, useState } from 'react'
import { useConversationInAddress } from '../state/use-hash.ts'
import { useMedia } from '../state/use-media.ts'
import { useChat } from '../state/use-session.ts'
import { BreakPanel } from './BreakPanel.tsx'
import { ConversationView } from './ConversationView.tsx'
import { Sidebar } from './Sidebar.tsx'
import { Toasts } from './Toasts.tsx'

/** Places the three parts: conversations, the open one, and the panel. On a phone one of them at a time. */
export function Shell({ onSignOut }: { onSignOut?: () => void }) {
  const [open, setOpen] = useConversationInAddress()
  const [listShown, setListShown] = useState(false)
  const wide = useMedia('(min-width: 1120px)')
  const [panelShown, setPanelShown] = useState(wide)
  const announcement = useChat((state) => state.announcement)

  useEffect(() => {
    if (!panelShown || wide) return undefined
    const onKey = (event: KeyboardEvent): void => {
      if (event.key === 'Escape') setPanelShown(false)
    }
    addEventListener('keydown', onKey)
    return () => removeEventListener('keydown', onKey)
  }, [panelShown, wide])

  return (
    <div className="shell" data-list={listShown || undefined} data-panel={panelShown || undefined}>
      <Sidebar
        open={open}
        onOpen={(id) => {
          setOpen(id)
          setListShown(false)
        }}
        {...(onSignOut === undefined ? {} : { onSignOut })}
      />
      <ConversationView
        key={open}
        id={open}
        panelShown={panelShown}
        onBack={() => setListShown(true)}
        onTogglePanel={() => setPanelShown(!panelShown)}
      />
      {panelShown && (
        <BreakPanel conversationId={open} overlay={!wide} onClose={() => setPanelShown(false)} />
      )}
      <Toasts />
      <div className="visually-hidden" role="status" aria-live="polite">
        {announcement}
      </div>
    </div>
  )
}

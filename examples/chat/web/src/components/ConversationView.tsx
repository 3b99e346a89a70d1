import { useEffect, useMemo, useState } from 'react'
import { emptyThread, threadItems } from '../state/thread.ts'
import type { Conversation } from '../state/types.ts'
import { useChat, useSession } from '../state/use-session.ts'
import { Composer } from './Composer.tsx'
import { ConnectionBadge, ConnectionBanner } from './Connection.tsx'
import { BackIcon, FlaskIcon, SplitIcon } from './icons.tsx'
import { MessageList } from './MessageList.tsx'

interface ConversationViewProps {
  readonly id: string
  readonly panelShown: boolean
  readonly onBack: () => void
  readonly onTogglePanel: () => void
}

export function ConversationView({ id, panelShown, onBack, onTogglePanel }: ConversationViewProps) {
  const session = useSession()
  const thread = useChat((state) => state.threads[id]) ?? emptyThread
  const outbox = useChat((state) => state.outbox)
  const conversation = useChat((state) => state.conversations.list.find((known) => known.id === id))
  const items = useMemo(
    () =>
      threadItems(
        thread,
        outbox.filter((entry) => entry.conversationId === id),
      ),
    [thread, outbox, id],
  )
  const [draft, setDraft] = useState('')

  const newest = thread.messages.at(-1)?.createdAt

  useEffect(() => session.conversations.join(id), [session, id])
  useEffect(() => {
    if (newest !== undefined) session.conversations.markRead(id, newest)
  }, [session, id, newest])

  const title = conversation?.title ?? (id === 'lobby' ? 'Lobby' : 'Conversation')
  return (
    <main className="chat" aria-label={title}>
      <header className="chat-head">
        <button className="icon-button only-narrow" aria-label="All conversations" onClick={onBack}>
          <BackIcon />
        </button>
        <div className="chat-heading">
          <h1>{title}</h1>
          <p>{membersOf(conversation, id)}</p>
        </div>
        <ConnectionBadge />
        {self === top && (
          <a className="icon-button" href="/?split" aria-label="Two people side by side" title="Side by side">
            <SplitIcon />
          </a>
        )}
        <button
          className="icon-button"
          aria-label="Try to break it"
          title="Try to break it"
          aria-expanded={panelShown}
          onClick={onTogglePanel}
        >
          <FlaskIcon />
        </button>
      </header>
      <ConnectionBanner />
      <MessageList
        title={title}
        status={thread.status}
        items={items}
        user={session.user}
        onReload={() => session.conversations.rejoin(id)}
        onEdit={(entry) => {
          setDraft(entry.body)
          session.sending.discard(entry.id)
        }}
      />
      <Composer
        title={title}
        value={draft}
        onChange={setDraft}
        onSend={(body) => session.sending.send(id, body)}
      />
    </main>
  )
}

function membersOf(conversation: Conversation | undefined, id: string): string {
  if (id === 'lobby') return 'Everybody who is signed in'
  return conversation?.members.join(', ') ?? ''
}

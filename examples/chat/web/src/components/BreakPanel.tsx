import { useSession } from '../state/use-session.ts'
import { experiments } from './experiments.tsx'
import { CloseIcon } from './icons.tsx'
import { Timeline } from './Timeline.tsx'

export function BreakPanel({ conversationId, onClose }: { conversationId: string; onClose: () => void }) {
  const session = useSession()
  return (
    <>
      <button className="scrim" aria-label="Close the panel" tabIndex={-1} onClick={onClose} />
      <aside className="panel" aria-labelledby="panel-title">
        <header className="panel-head">
          <h2 id="panel-title">Try to break it</h2>
          <button className="icon-button" aria-label="Close" onClick={onClose}>
            <CloseIcon />
          </button>
        </header>
        <ul className="experiments">
          {experiments.map(({ id, title, hint, Icon, run }) => (
            <li key={id}>
              <button className="experiment" onClick={() => run(session, conversationId)}>
                <Icon />
                <span className="experiment-text">
                  <span className="experiment-title">{title}</span>
                  <span className="experiment-hint">{hint}</span>
                </span>
              </button>
            </li>
          ))}
        </ul>
        <Timeline />
      </aside>
    </>
  )
}

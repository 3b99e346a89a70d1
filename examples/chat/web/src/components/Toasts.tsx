import { useChat, useSession } from '../state/use-session.ts'
import { AlertIcon, CloseIcon } from './icons.tsx'

/** Notices of rollbacks whose message is not on this page, such as one sent from another tab. */
export function Toasts() {
  const session = useSession()
  const toasts = useChat((state) => state.toasts)
  if (toasts.length === 0) return null
  return (
    <ul className="toasts" aria-label="Notices">
      {toasts.map(({ id, text }) => (
        <li key={id} className="toast">
          <AlertIcon />
          <span>{text}</span>
          <button className="icon-button" aria-label="Dismiss" onClick={() => session.dismissToast(id)}>
            <CloseIcon />
          </button>
        </li>
      ))}
    </ul>
  )
}

import { useChat } from '../state/use-session.ts'

export function ConnectionBadge() {
  const connection = useChat((state) => state.connection)
  const wasConnected = useChat((state) => state.wasConnected)
  const label = connection === 'connected' ? 'Connected' : wasConnected ? 'Reconnecting' : 'Connecting'
  return (
    <span className="badge" data-state={connection} role="status">
      <span className="badge-dot" />
      <span className="badge-label">{label}</span>
    </span>
  )
}

/**
 * Banner for a lost connection. Its style sheet waits a moment before showing it: a short blip should not move the
 * page.
 */
export function ConnectionBanner() {
  const away = useChat((state) => state.wasConnected && state.connection !== 'connected')
  if (!away) return null
  return <p className="banner">Reconnecting. What you write is kept, and what you miss is caught up.</p>
}

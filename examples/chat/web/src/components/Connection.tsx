import { useEffect, useState } from 'react'
import { useChat } from '../state/use-session.ts'

// A blip that heals by itself should not push the page around.
const bannerAfterMs = 800

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

export function ConnectionBanner() {
  const away = useChat((state) => state.wasConnected && state.connection !== 'connected')
  const [shown, setShown] = useState(false)
  useEffect(() => {
    if (!away) return setShown(false)
    const timer = setTimeout(() => setShown(true), bannerAfterMs)
    return () => clearTimeout(timer)
  }, [away])
  if (!shown) return null
  return <p className="banner">Reconnecting. What you write is kept, and what you miss is caught up.</p>
}

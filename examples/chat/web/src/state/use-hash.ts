import { useSyncExternalStore } from 'react'

/** The open conversation lives in the address, so that a reload and the back button keep it. */
export function useConversationInAddress(): [string, (id: string) => void] {
  const id = useSyncExternalStore(
    (listener) => {
      addEventListener('hashchange', listener)
      return () => removeEventListener('hashchange', listener)
    },
    () => decodeURIComponent(location.hash.slice(1)) || 'lobby',
  )
  return [id, (next) => void (location.hash = encodeURIComponent(next))]
}

import { createContext, use, useSyncExternalStore } from 'react'
import type { ChatSession } from './chat-session.ts'
import type { ChatState } from './types.ts'

export const SessionContext = createContext<ChatSession | undefined>(undefined)

export function useSession(): ChatSession {
  const session = use(SessionContext)
  if (session === undefined) throw new Error('This component belongs inside a SessionContext')
  return session
}

/** `select` must return a value that stays the same while what it reads stays the same. */
export function useChat<T>(select: (state: ChatState) => T): T {
  const { store } = useSession()
  return useSyncExternalStore(store.subscribe, () => select(store.get()))
}

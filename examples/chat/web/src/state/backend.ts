import { createClient, type Client } from 'lockstep/client'
import type { App } from '../../../server/chat.ts'
import { tokenFor } from './identity.ts'

export type Backend = Client<App>

// Close code of the Centrifuge protocol range that Lockstep uses for a token it does not accept.
const invalidToken = 3500

/** The one place where the page meets Lockstep. */
export function connectBackend(user: string): Backend {
  let refused = false
  const client = createClient<App>({
    url: '/lockstep/ws',
    user,
    storageKey: 'lockstep-chat:client',
    // Keep messages written offline, in a tunnel for example, until the connection is back.
    waitForConnectionMs: Infinity,
    getToken: async () => tokenFor(user, refused),
  })
  client.connection.on('change', (state) => {
    if (state === 'connected') refused = false
    if (state !== 'disconnected' || client.connection.disconnectReason?.code !== invalidToken || refused)
      return
    // The server was given a new secret since this token was made: ask for a new one, once.
    refused = true
    client.connection.connect()
  })
  return client
}

/** The channel of a conversation, which reads what it holds by `getState`. */
export function openConversation(
  backend: Backend,
  id: string,
  getState: () => Promise<{ readonly offset: number; readonly epoch: string }>,
) {
  return backend.channel(`conversation:${id}`, { getState })
}

export type ConversationChannel = ReturnType<typeof openConversation>

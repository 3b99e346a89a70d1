import { WebSocket } from 'ws'
import { createClient, type Client } from '../../src/client/index.ts'
import { signToken } from '../../src/index.ts'
import { secret, type App } from './application.ts'

export interface Listeners {
  /** Events that their callbacks were given. */
  readonly events: number
  readonly users: readonly string[]
  /** Notices of rollbacks. */
  readonly notices: number
  close(): void
}

const roomsOfOne = 100

export function openClient(http: string, user: string): Client<App> {
  return createClient<App>({
    url: `${http.replace('http', 'ws')}/lockstep/ws`,
    getToken: () => signToken(secret, user, 3_600),
    websocket: WebSocket,
    storage: null,
  })
}

/** People on one node, who together hear every room once. */
export async function listenToAll(http: string, rooms: number, firstUser: number): Promise<Listeners> {
  const clients: Client<App>[] = []
  const users: string[] = []
  const heard = { events: 0, notices: 0 }
  for (let from = 0; from < rooms; from += roomsOfOne) {
    const user = `u${firstUser + clients.length}`
    users.push(user)
    const client = openClient(http, user)
    clients.push(client)
    client.notices.on(() => void (heard.notices += 1))
    const channels = Array.from({ length: Math.min(roomsOfOne, rooms - from) }, (_, n) =>
      client.channel(`room:r${from + n}`),
    )
    for (const channel of channels) channel.on('noted', () => void (heard.events += 1))
    await Promise.all(channels.map((channel) => channel.ready()))
  }
  return {
    users,
    get events() {
      return heard.events
    },
    get notices() {
      return heard.notices
    },
    close: () => clients.forEach((client) => client.close()),
  }
}

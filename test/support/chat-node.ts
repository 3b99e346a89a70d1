// The demo's chat as a node of a test: its operations, its switch of modes, and its routes on real HTTP.
import { createHash } from 'node:crypto'
import type { AddressInfo } from 'node:net'
import pg from 'pg'
import { WebSocket } from 'ws'
import { defineChat, type App } from '../../examples/chat/server/chat.ts'
import { knownHosts, upgradesOfKnownHosts } from '../../examples/chat/server/hosts.ts'
import { createHttpServer } from '../../examples/chat/server/http.ts'
import { rolloutRoutes } from '../../examples/chat/server/rollout-routes.ts'
import { createTables } from '../../examples/chat/server/schema.ts'
import { createClient, type Client } from '../../src/client/index.ts'
import {
  createLockstep,
  fromPool,
  signToken,
  silentLogger,
  type Database,
  type Lockstep,
  type LockstepHealth,
  type MonitorOptions,
  type SqlClient,
} from '../../src/index.ts'

export const chatSecret = createHash('sha256').update('chat').digest('hex')

export interface ChatNode {
  readonly lockstep: Lockstep<SqlClient>
  readonly http: string
  readonly pool: pg.Pool
  /** Answer to `GET /lockstep/health`, in full. */
  health(): Promise<LockstepHealth>
  /** Sets the mode by `POST /demo/mode`. */
  setMode(mode: string): Promise<void>
  /** Connects a user who looks at the lobby. */
  person(user: string): Promise<Client<App>>
  /** Closes the node, once, however often it is called. */
  close(): Promise<void>
}

export async function startChatNode(databaseUrl: string, monitor: MonitorOptions = {}): Promise<ChatNode> {
  const pool = new pg.Pool({ connectionString: databaseUrl, max: 12, pipeline: true })
  const database: Database<SqlClient> = fromPool(pool)
  const lockstep = createLockstep({
    database,
    auth: { secret: chatSecret },
    logger: silentLogger,
    monitor,
    health: { authorize: () => true },
    dashboard: { authorize: () => true },
  })
  defineChat(lockstep)
  await lockstep.start()
  await createTables(database.db)
  const hosts = knownHosts('127.0.0.1', [])
  const server = createHttpServer(lockstep, [rolloutRoutes(lockstep.rollout)], hosts)
  lockstep.attach(upgradesOfKnownHosts(server, hosts))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const http = `http://127.0.0.1:${port}`
  const people: Client<App>[] = []
  let closed: Promise<void> | undefined
  const close = async (): Promise<void> => {
    for (const client of people) client.close()
    await lockstep.close({ drainMs: 500 })
    server.close()
    server.closeAllConnections()
    await pool.end()
  }
  return {
    lockstep,
    http,
    pool,
    async health() {
      return (await (await fetch(`${http}/lockstep/health`)).json()) as LockstepHealth
    },
    async setMode(mode) {
      const headers = { 'content-type': 'application/json' }
      const body = JSON.stringify({ mode })
      const response = await fetch(`${http}/demo/mode`, { method: 'POST', headers, body })
      if (!response.ok) throw new Error(`the mode was not set: ${response.status}`)
    },
    async person(user) {
      const client = createClient<App>({
        url: `ws://127.0.0.1:${port}/lockstep/ws`,
        getToken: () => signToken(chatSecret, user, 3_600),
        websocket: WebSocket,
        storage: null,
      })
      people.push(client)
      const channel = client.channel('conversation:lobby')
      channel.on('message.created', () => {})
      await channel.ready()
      return client
    },
    close() {
      closed ??= close()
      return closed
    },
  }
}

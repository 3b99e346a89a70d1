// The likeliest mistakes of a first afternoon. No mistake may leave a promise open, and each says once what to check.
import { once } from 'node:events'
import { createServer, type RequestListener, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, expect, test, vi, type Mock } from 'vitest'
import { WebSocket } from 'ws'
import { createClient, type Client, type ClientOptions } from '../../../src/client/index.ts'
import { silentLogger } from '../../../src/core/index.ts'
import { createGateway, toNodeHandler, type GatewayPorts } from '../../../src/gateway/index.ts'
import { signToken } from '../../../src/auth/index.ts'
import { startWorld, token, type World } from '../gateway/harness.ts'
import { eventually } from '../../support/eventually.ts'

let world: World
let printed: Mock
const undo: (() => unknown)[] = []
beforeEach(async () => {
  printed = vi.spyOn(console, 'error').mockImplementation(() => {}) as Mock
  world = await startWorld()
})
afterEach(async () => {
  for (const each of undo.splice(0).toReversed()) await each()
  await world.stop()
  vi.restoreAllMocks()
})

/** A WebSocket as a page of that origin would open it. */
class ForeignWebSocket extends WebSocket {
  constructor(url: string, protocols?: string | string[]) {
    super(url, protocols ?? [], { origin: 'https://evil.example' })
  }
}

function connect(options: Partial<ClientOptions> = {}): Client {
  const client = createClient({
    url: world.url,
    getToken: () => token('ada'),
    websocket: WebSocket,
    storage: null,
    minReconnectDelayMs: 5,
    maxReconnectDelayMs: 10,
    waitForConnectionMs: 1_000,
    timeoutMs: 1_000,
    ...options,
  })
  undo.push(() => client.close())
  return client
}

async function serve(listener: RequestListener): Promise<string> {
  const server: Server = createServer(listener)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  undo.push(() => {
    server.closeAllConnections()
    server.close()
  })
  return `ws://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const lines = (): unknown[] => printed.mock.calls.map((parts) => parts.join(' '))

interface Mistake {
  readonly options: () => Promise<Partial<ClientOptions>> | Partial<ClientOptions>
  readonly says: RegExp
}

const mistakes: readonly (readonly [string, Mistake])[] = [
  [
    'nobody listens',
    {
      options: async () => {
        const url = await serve(() => {})
        await undo.pop()?.()
        return { url: `${url}/lockstep/ws` }
      },
      says: /nothing answers there\. Is the server running, and are host and port right\? Trying again\.$/,
    },
  ],
  [
    'the path is wrong',
    {
      options: async () => {
        const notFound: RequestListener = (_request, response) => void response.writeHead(404).end()
        return { url: `${await serve(notFound)}/lockstep/socket` }
      },
      says: /the server answered 404\. Is lockstep\.attach\(server\) called, and does the proxy pass \/lockstep\/socket\?/,
    },
  ],
  [
    'attach was forgotten',
    {
      options: async () => {
        const gateway = createGateway({ ports: { logger: silentLogger } as GatewayPorts })
        return { url: `${await serve(toNodeHandler(gateway))}/lockstep/ws` }
      },
      says: /the server answered 404\. Is lockstep\.attach\(server\) called/,
    },
  ],
  [
    'a proxy does not pass the upgrade',
    {
      options: async () => {
        // The proxy asks without the headers that belong to one connection, as proxies do by default.
        const pass = async (path: string, response: ServerResponse): Promise<void> => {
          const { status } = await world.gateway.fetch(new Request(`http://behind${path}`))
          response.writeHead(status).end()
        }
        const url = await serve((request, response) => void pass(request.url ?? '', response))
        return { url: `${url}/lockstep/ws` }
      },
      says: /Does the proxy pass Upgrade and Connection\?/,
    },
  ],
  [
    'the secrets differ',
    {
      options: () => ({ getToken: () => signToken('another secret that is long enough', 'ada', 60) }),
      says: /refused the token\. Do the server's auth and what signs the token have the same secret/,
    },
  ],
  [
    'the token route answers 404',
    {
      options: () => ({ getToken: () => Promise.resolve('<!DOCTYPE html><pre>Cannot GET /token</pre>') }),
      says: /getToken returned "<!DOCTYPE html><pre>Cannot GET \/token<\/pre>", which is no JWT/,
    },
  ],
  [
    'the token route answers a long page',
    {
      options: () => ({ getToken: () => Promise.resolve(`<html>${'x'.repeat(9_000)}`) }),
      says: /getToken returned "<html>x{54}…", which is no JWT\. Does its route answer\?/,
    },
  ],
  [
    'getToken fails',
    {
      options: () => ({ getToken: () => Promise.reject(new TypeError('Failed to fetch')) }),
      says: /getToken failed: Failed to fetch\. Trying again\.$/,
    },
  ],
  [
    'getToken returns the same expired token again',
    {
      options: async () => {
        const expired = await token('ada', -10)
        return { getToken: () => Promise.resolve(expired) }
      },
      says: /refused the token: it has expired, and getToken returned the same one again\. Trying again\.$/,
    },
  ],
  [
    'the page is of another origin',
    {
      options: () => ({ websocket: ForeignWebSocket }),
      says: /refused the page's origin .*\. Add it to gateway\.allowedOrigins\.$/,
    },
  ],
]

test.each(mistakes)('%s: every promise settles, and one line says what to check', async (_name, mistake) => {
  const client = connect(await mistake.options())
  const told: Error[] = []
  client.connection.on('error', (error) => told.push(error))
  const promises = [
    client.call('send_message', 1).outcome,
    client.query('echo', 1),
    client.channel('room:1').ready(),
  ]
  const settled = await Promise.allSettled(promises)
  const reasons = settled.map((one) => (one.status === 'rejected' ? (one.reason as Error).message : 'none'))
  for (const reason of reasons) expect(reason).toMatch(mistake.says)
  expect(reasons[0]).toMatch(/^no connection to ws:\/\/127\.0\.0\.1:\d+\/lockstep\/\w+: /)
  expect(client.pending).toEqual([])
  expect(lines()).toEqual([`lockstep: ${reasons[0]}`])
  expect(told.map(({ message }) => message)).toEqual([reasons[0]])
  expect(client.connection.error?.message).toBe(reasons[0])
})

test('a channel that is misspelt is named on the console, and its ready rejects', async () => {
  const client = connect()
  const channel = client.channel('rom:1')
  await eventually(() => expect(channel.state).toBe('unsubscribed'))
  const words =
    'channel "rom:1" was refused: There is no such channel. Is it declared on the server, and spelled so?'
  expect(lines()).toEqual([`lockstep: ${words}`])
  await expect(channel.ready()).rejects.toMatchObject({ code: 102, reason: 'LS_CHANNEL_UNKNOWN' })
})

test('a method that is misspelt rejects', async () => {
  const client = connect()
  await expect(client.call('snd_message', 1).outcome).rejects.toMatchObject({ code: 104 })
  await expect(client.query('ehco', 1)).rejects.toMatchObject({ code: 104 })
})

test('a method that is misspelt is named, with the nearest one only where the node offers it', async () => {
  const misspelt = { code: 104, reason: 'LS_METHOD_UNKNOWN' }
  const message = 'There is no operation or query "ehco".'
  await expect(connect().query('ehco', 1)).rejects.toMatchObject({ ...misspelt, message })
  const development = await startWorld({ ports: { nearestMethod: () => 'echo' } })
  undo.push(() => development.stop())
  await expect(connect({ url: development.url }).query('ehco', 1)).rejects.toMatchObject({
    ...misspelt,
    message: `${message} Did you mean "echo"?`,
  })
})

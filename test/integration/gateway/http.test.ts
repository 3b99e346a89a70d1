import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect as connectTcp, type AddressInfo } from 'node:net'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { createGateway, toNodeHandler, type GatewayPorts } from '../../../src/gateway/index.ts'
import { silentLogger } from '../../../src/index.ts'
import { RawClient, startWorld, type World } from './harness.ts'
import { ManualClock } from '../../support/manual-clock.ts'

let world: World
beforeEach(async () => {
  world = await startWorld()
})
afterEach(() => world.stop())

const health = (ports: Partial<GatewayPorts>): Promise<Response> =>
  createGateway({ ports: ports as GatewayPorts }).fetch(new Request('http://any/lockstep/health'))

test.each([
  ['ok', 200],
  ['degraded', 200],
  ['stopping', 503],
] as const)('health: %s is %i', async (status, code) => {
  const ports = { status: () => status, health: async () => ({ status, score: 1 }) }
  const response = await health({ ...ports, authorizeHealth: () => true })
  expect(response.status).toBe(code)
  expect(response.headers.get('cache-control')).toBe('no-store')
  expect(await response.json()).toEqual({ status, score: 1 })
  const toEverybody = await health(ports)
  expect([toEverybody.status, await toEverybody.json()]).toEqual([code, { status }])
})

test('health: a check that fails is 503 and shows nothing', async () => {
  const { logger } = { logger: { error: () => {} } }
  const failing = { status: () => Promise.reject(new Error('db.internal:5432')), logger: logger as never }
  const response = await health(failing)
  expect(response.status).toBe(503)
  expect(await response.text()).toBe('{"status":"unavailable"}')
})

test('health: whoever may not see more than the status costs nothing more, however often it is asked for', async () => {
  let [statuses, reports] = [0, 0]
  const clock = new ManualClock()
  const asked: (string | null)[] = []
  const gateway = createGateway({
    clock,
    ports: {
      status: () => {
        statuses += 1
        return 'ok'
      },
      health: async () => {
        reports += 1
        return { status: 'ok', score: 1 }
      },
      authorizeHealth: (request) => {
        asked.push(request.headers.get('authorization'))
        if (asked.at(-1) === 'throws') throw new Error('no')
        return asked.at(-1) === 'Bearer right'
      },
      logger: silentLogger,
    } as Partial<GatewayPorts> as GatewayPorts,
  })
  const ask = async (authorization: string): Promise<unknown> => {
    const request = new Request('http://any/lockstep/health', { headers: { authorization } })
    return (await gateway.fetch(request)).json()
  }
  for (let n = 0; n < 100; n += 1)
    expect(await ask(n % 2 === 0 ? 'Bearer wrong' : 'throws')).toEqual({ status: 'ok' })
  expect([statuses, reports]).toEqual([1, 0])
  for (let n = 0; n < 100; n += 1) expect(await ask('Bearer right')).toEqual({ status: 'ok', score: 1 })
  expect([statuses, reports]).toEqual([1, 1])
  clock.advance(1_000)
  await Promise.all([ask('Bearer wrong'), ask('Bearer right'), ask('Bearer right')])
  expect([statuses, reports]).toEqual([2, 2])
})

test('health: 503 as soon as the gateway closes', async () => {
  await world.gateway.close()
  const response = await world.gateway.fetch(new Request('http://any/lockstep/health'))
  expect(response.status).toBe(503)
  expect(await response.json()).toEqual({ status: 'stopping' })
})

test('other routes of the gateway are 404', async () => {
  const response = await world.gateway.fetch(new Request('http://any/lockstep/nope'))
  expect(response.status).toBe(404)
})

test('mounts on a Node server beside its own routes', async () => {
  const handle = toNodeHandler(world.gateway)
  const server = createServer((request, response) => handle(request, response, () => response.end('mine')))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  expect(await (await fetch(`${base}/lockstep/health`)).json()).toEqual({ status: 'ok' })
  expect(await (await fetch(`${base}/lockstepping`)).text()).toBe('mine')
  expect((await fetch(`${base}/lockstep/health`, { method: 'POST' })).status).toBe(405)
  server.closeAllConnections()
  server.close()
})

test('attached, it leaves requests and the upgrades of others alone', async () => {
  const others = new WebSocketServer({ noServer: true })
  world.server.on('upgrade', (request, socket, head) => {
    if (request.url !== '/theirs') return
    others.handleUpgrade(request, socket, head, (webSocket) => webSocket.send('theirs'))
  })
  const theirs = new WebSocket(`ws://127.0.0.1:${world.port}/theirs`)
  const [data] = (await once(theirs, 'message')) as [Buffer]
  expect(data.toString()).toBe('theirs')
  const own = await fetch(`http://127.0.0.1:${world.port}/`)
  expect(await own.text()).toBe('own route')
  expect(world.gateway.connections()).toBe(0)
  theirs.terminate()
})

test('as the only listener it answers upgrades of other paths with 404', async () => {
  const other = new WebSocket(`ws://127.0.0.1:${world.port}/lockstep/wsx`)
  other.on('error', () => {})
  const [, response] = (await once(other, 'unexpected-response')) as [unknown, { statusCode: number }]
  expect(response.statusCode).toBe(404)
  other.terminate()
})

test('a query does not change the path, and centrifuge-json is the only subprotocol', async () => {
  const socket = new WebSocket(`${world.url}?cf=1`, ['centrifuge-protobuf', 'centrifuge-json'])
  await once(socket, 'open')
  expect(socket.protocol).toBe('centrifuge-json')
  socket.terminate()
})

test.each([
  ['none', undefined, true],
  ['the same host', 'http://HOST', true],
  ['the same host over TLS', 'https://HOST', true],
  ['another port', 'http://127.0.0.1:1', false],
  ['no port', 'http://127.0.0.1', false],
  ['evil', 'https://evil.example', false],
  ['null', 'null', false],
  ['empty', '', false],
  ['a suffix', 'http://HOST.evil.example', false],
  ['a prefix', 'http://evilHOST', false],
  ['user info', 'http://HOST@evil.example', false],
  ['a path', 'http://HOST/', false],
  ['upper case', 'HTTP://HOST', false],
  ['another scheme', 'ftp://HOST', false],
  ['two of them', 'http://HOST, https://evil.example', false],
])('origin without a list: %s', async (_name, origin, allowed) => {
  const value = origin?.replace('HOST', `127.0.0.1:${world.port}`)
  const client = await RawClient.open(world.url, value === undefined ? {} : { Origin: value })
  // A socket that may stay is closed for what it says, any other before.
  if (allowed) client.send('x')
  expect((await client.closed).code).toBe(allowed ? 3501 : 4501)
})

test.each([
  ['listed', 'https://app.example', true],
  ['none', undefined, true],
  ['the same host, not listed', 'http://HOST', false],
  ['another scheme', 'http://app.example', false],
  ['another port', 'https://app.example:8443', false],
  ['a subdomain', 'https://x.app.example', false],
  ['a suffix', 'https://app.example.evil.example', false],
  ['upper case', 'https://APP.example', false],
  ['null', 'null', false],
])('origin with a list: %s', async (_name, origin, allowed) => {
  const listed = await startWorld({ allowedOrigins: ['https://app.example'] })
  const value = origin?.replace('HOST', `127.0.0.1:${listed.port}`)
  const client = await RawClient.open(listed.url, value === undefined ? {} : { Origin: value })
  if (allowed) client.send('x')
  expect((await client.closed).code).toBe(allowed ? 3501 : 4501)
  await listed.stop()
})

test.each(['app.example', 'https://app.example/', 'null', '*', 'https://APP.example'])(
  'the list refuses %s',
  (origin) => {
    expect(() => createGateway({ ports: {} as GatewayPorts, allowedOrigins: [origin] })).toThrow(
      /is not an origin/,
    )
  },
)

test.each([
  ['version 0', { 'Sec-WebSocket-Version': '0' }, '400'],
  ['version 99', { 'Sec-WebSocket-Version': '99' }, '400'],
  ['no key', { 'Sec-WebSocket-Key': '' }, '400'],
  ['a bad key', { 'Sec-WebSocket-Key': 'short' }, '400'],
  [
    'version 8 with an evil origin',
    { 'Sec-WebSocket-Version': '8', 'Sec-WebSocket-Origin': 'https://evil.example' },
    '101',
  ],
  ['200 headers', Object.fromEntries(Array.from({ length: 200 }, (_, n) => [`X-${n}`, 'x'])), '101'],
  ['headers of 32 KiB', { 'X-Long': 'x'.repeat(32_768) }, '431'],
])('handshake: %s', async (_name, extra, status) => {
  const headers = {
    Host: `127.0.0.1:${world.port}`,
    Upgrade: 'websocket',
    Connection: 'Upgrade',
    'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
    'Sec-WebSocket-Version': '13',
    ...extra,
  }
  const socket = connectTcp(world.port, '127.0.0.1')
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  socket.write(`GET /lockstep/ws HTTP/1.1\r\n${lines.join('')}\r\n`)
  const [data] = (await once(socket, 'data')) as [Buffer]
  expect(data.toString('latin1')).toMatch(new RegExp(`^HTTP/1.1 ${status} `))
  socket.destroy()
})

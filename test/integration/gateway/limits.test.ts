// Limits by address and by time, each at its boundary, and peers that take their time.
import { once } from 'node:events'
import { connect as connectTcp } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { networkOf } from '../../../src/gateway/crowd/addresses.ts'
import { createGateway, type GatewayPorts } from '../../../src/gateway/index.ts'
import { RawClient, startWorld, type World } from './harness.ts'
import { ManualClock } from '../../support/manual-clock.ts'

let worlds: World[] = []
afterEach(async () => {
  await Promise.all(worlds.map((one) => one.stop()))
  worlds = []
})

async function world(...options: Parameters<typeof startWorld>): Promise<World> {
  const started = await startWorld(...options)
  worlds.push(started)
  return started
}

/** Status of the upgrade: 101, or that of its refusal. */
async function upgrade(at: World, forwardedFor?: string): Promise<{ status: number; socket: WebSocket }> {
  const headers = forwardedFor === undefined ? {} : { 'X-Forwarded-For': forwardedFor }
  const socket = new WebSocket(at.url, { headers })
  socket.on('error', () => {})
  const refused = once(socket, 'unexpected-response').then(([, response]: unknown[]) => {
    socket.terminate()
    return (response as { statusCode: number }).statusCode
  })
  const status = await Promise.race([once(socket, 'open').then(() => 101), refused])
  return { status, socket }
}

async function statuses(at: World, forwarded: readonly (string | undefined)[]): Promise<number[]> {
  const all: number[] = []
  for (const one of forwarded) all.push((await upgrade(at, one)).status)
  return all
}

test('connections of one address: 429 beyond the limit, and room again when one has gone', async () => {
  const at = await world({ limits: { maxConnectionsPerAddress: 2 } })
  const first = await upgrade(at)
  expect(await statuses(at, [undefined, undefined])).toEqual([101, 429])
  const witness = await upgrade(at)
  expect(witness.status).toBe(429)
  first.socket.close()
  await once(first.socket, 'close')
  while (at.gateway.connections() > 1) await new Promise((resolve) => setImmediate(resolve))
  expect(await statuses(at, [undefined, undefined])).toEqual([101, 429])
})

test('an upgrade that fails counts for nothing', async () => {
  const at = await world({ limits: { maxConnectionsPerAddress: 1 } })
  for (let n = 0; n < 3; n += 1) {
    const socket = connectTcp(at.port, '127.0.0.1')
    socket.resume()
    socket.write('GET /lockstep/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n')
    await once(socket, 'close')
  }
  expect(await statuses(at, [undefined, undefined])).toEqual([101, 429])
})

test('connects of one address in a second: 429 beyond the limit, for that second', async () => {
  const clock = new ManualClock()
  const at = await world({ clock, limits: { maxConnectsPerAddressPerSecond: 2 } })
  expect(await statuses(at, [undefined, undefined, undefined])).toEqual([101, 101, 429])
  clock.advance(1_000)
  expect(await statuses(at, [undefined, undefined, undefined])).toEqual([101, 101, 429])
})

test('connects in all: 503 beyond a burst of twice the limit, which is earned again', async () => {
  const clock = new ManualClock()
  const at = await world({ clock, limits: { maxConnectsPerSecond: 1 } })
  expect(await statuses(at, [undefined, undefined, undefined])).toEqual([101, 101, 503])
  clock.advance(1_000)
  expect(await statuses(at, [undefined, undefined])).toEqual([101, 503])
})

test.each([
  ['not trusted, the header is hearsay', false, ['1.1.1.1', '2.2.2.2'], [101, 429]],
  ['one proxy: the last entry', 1, ['1.1.1.1', '2.2.2.2', '9.9.9.9, 1.1.1.1'], [101, 101, 429]],
  [
    'two proxies: the last but one',
    2,
    ['1.1.1.1, 5.5.5.5', '2.2.2.2, 5.5.5.5', '9.9.9.9, 1.1.1.1, 6.6.6.6'],
    [101, 101, 429],
  ],
  ['entries with a port', 1, ['1.1.1.1:50001', '1.1.1.1:50002', '2.2.2.2:50001'], [101, 429, 101]],
  ['IPv6 with a port', 1, ['[2001:db8::1]:50001', '[2001:db8::2]:50002', '2001:db8::3'], [101, 429, 429]],
  ['no header: the socket', 1, [undefined, undefined], [101, 429]],
  ['fewer entries than proxies: the socket', 2, ['1.1.1.1', '2.2.2.2'], [101, 429]],
] as const)('trustProxy: %s', async (_name, trustProxy, forwarded, expected) => {
  const at = await world({ trustProxy, limits: { maxConnectionsPerAddress: 1 } })
  expect(await statuses(at, forwarded)).toEqual(expected)
})

test.each([
  ['10.1.2.3', '10.1.2.3'],
  ['::ffff:10.1.2.3', '10.1.2.3'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:DB8:0001:2::9', '2001:db8:1:2::/64'],
  ['2001:db8::1', '2001:db8:0:0::/64'],
  ['::1', '0:0:0:0::/64'],
  ['fe80::1%eth0', 'fe80:0:0:0::/64'],
  ['not an address', 'not an address'],
])('the network of %s is %s', (address, network) => {
  expect(networkOf(address)).toBe(network)
})

test.each([-1, 1.5, Number.NaN])('trustProxy: %s is refused', (trustProxy) => {
  expect(() => createGateway({ ports: {} as GatewayPorts, trustProxy })).toThrow(/trustProxy/)
})

test('a peer that sends its first frame byte by byte is closed with 4001 in time', async () => {
  const clock = new ManualClock()
  const at = await world({ clock })
  const slow = await RawClient.open(at.url)
  // The head of a frame of 100 bytes, and then one of them a second.
  const { _socket: bytes } = slow.socket as unknown as { _socket: { write(data: Buffer): void } }
  bytes.write(Buffer.from([0x81, 0x80 | 100, 0, 0, 0, 0]))
  for (let second = 0; second < 6; second += 1) {
    bytes.write(Buffer.from('{'))
    clock.advance(1_000)
  }
  expect((await slow.closed).code).toBe(4001)
})

test('a handshake that was refused leaves no socket open', async () => {
  const at = await world({ limits: { maxConnections: 1 } })
  await upgrade(at)
  const socket = connectTcp({ port: at.port, host: '127.0.0.1', allowHalfOpen: true })
  socket.write('GET /lockstep/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n')
  const [data] = (await once(socket, 'data')) as [Buffer]
  expect(data.toString()).toMatch(/^HTTP\/1.1 503 /)
  await once(socket, 'end')
  // The client's half stays open for as long as it likes; the server's is gone.
  const connections = (): Promise<number> =>
    new Promise((resolve) => at.server.getConnections((_error, count) => resolve(count)))
  while ((await connections()) > 1) await new Promise((resolve) => setImmediate(resolve))
  socket.destroy()
})

// Hostile input, byte by byte. A healthy connection is watched throughout: no input may end the process, hold up its
// pings, or disturb it.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect as connectTcp, type Socket } from 'node:net'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { RawClient, startWorld, token, type World } from './harness.ts'

let world: World
let control: RawClient
let controlId = 10

beforeAll(async () => {
  world = await startWorld()
  control = await RawClient.connect(world, 'control')
  await control.ask({ id: 2, subscribe: { channel: 'room:control' } })
})

afterEach(async () => {
  world.events.append('room:control', controlId)
  const event = await control.next()
  assert.ok(event['push'], 'the control connection gets its events')
  controlId += 1
  assert.deepEqual(await control.ask({ id: controlId, ping: {} }), { id: controlId, ping: {} })
  assert.equal(Object.hasOwn(Object.prototype, 'polluted'), false)
})

afterAll(() => world.stop())

const opcodes = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9 } as const

interface FrameOptions {
  readonly opcode?: number
  readonly final?: boolean
  readonly reserved?: number
  readonly masked?: boolean
  /** Bytes written in place of the right length, from the length field on. */
  readonly length?: readonly number[]
}

function frame(payload: Buffer | string, options: FrameOptions = {}): Buffer {
  const body = Buffer.from(payload)
  const { opcode = opcodes.text, final = true, reserved = 0, masked = true } = options
  const first = (final ? 0x80 : 0) | (reserved << 4) | opcode
  const length = options.length ?? lengthOf(body.length)
  const [short = 0, ...rest] = length
  // A mask of zeros leaves the payload as it is.
  return Buffer.concat([
    Buffer.from([first, (masked ? 0x80 : 0) | short, ...rest]),
    Buffer.alloc(masked ? 4 : 0),
    body,
  ])
}

function lengthOf(length: number): number[] {
  if (length < 126) return [length]
  if (length < 65_536) return [126, length >> 8, length & 0xff]
  return [127, 0, 0, 0, 0, length >>> 24, (length >> 16) & 0xff, (length >> 8) & 0xff, length & 0xff]
}

async function upgraded(pipelined: Buffer = Buffer.alloc(0)): Promise<Socket> {
  const socket = connectTcp(world.port, '127.0.0.1')
  socket.on('error', () => {})
  const head =
    'GET /lockstep/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n'
  socket.write(Buffer.concat([Buffer.from(head), pipelined]))
  return socket
}

/** The code of the close frame that ends what the server sends. */
async function closeCode(socket: Socket): Promise<number> {
  let received = Buffer.alloc(0)
  for await (const chunk of socket) {
    received = Buffer.concat([received, chunk as Buffer])
    const code = closeIn(received)
    if (code !== undefined) {
      socket.destroy()
      return code
    }
  }
  return 1_006
}

function closeIn(received: Buffer): number | undefined {
  let at = received.indexOf('\r\n\r\n') + 4
  while (at >= 4 && at + 2 <= received.length) {
    const short = received.readUInt8(at + 1)
    const [header, length] = short === 126 ? [4, received.readUInt16BE(at + 2)] : [2, short]
    if ((received.readUInt8(at) & 0x0f) === opcodes.close) {
      if (at + header + 2 > received.length) return length === 0 ? 1_005 : undefined
      return received.readUInt16BE(at + header)
    }
    at += header + length
  }
  return undefined
}

const closeFrame = (code: number): Buffer => {
  const body = Buffer.alloc(2)
  body.writeUInt16BE(code)
  return frame(body, { opcode: opcodes.close })
}

const connectLine = async (): Promise<string> =>
  JSON.stringify({ id: 1, connect: { token: await token('eve') } })

test.each([
  ['an unmasked frame', frame('{}', { masked: false }), 1002],
  ['RSV1', frame('{}', { reserved: 4 }), 1002],
  ['RSV2', frame('{}', { reserved: 2 }), 1002],
  ['RSV3', frame('{}', { reserved: 1 }), 1002],
  ['opcode 3', frame('{}', { opcode: 3 }), 1002],
  ['opcode 7', frame('{}', { opcode: 7 }), 1002],
  ['opcode 11', frame('{}', { opcode: 11 }), 1002],
  ['opcode 15', frame('{}', { opcode: 15 }), 1002],
  ['a fragmented ping', frame('', { opcode: opcodes.ping, final: false }), 1002],
  ['a ping of 126 bytes', frame('x'.repeat(126), { opcode: opcodes.ping }), 1002],
  ['a continuation of nothing', frame('{}', { opcode: opcodes.continuation }), 1002],
  ['a text inside a text', Buffer.concat([frame('{', { final: false }), frame('}')]), 1002],
  ['a length of 2^63', frame('', { length: [127, 0x80, 0, 0, 0, 0, 0, 0, 0] }), 1009],
  ['a length of 2^53', frame('', { length: [127, 0, 0x20, 0, 0, 0, 0, 0, 0] }), 1009],
  ['256 KiB and one byte', frame('x'.repeat(262_145)), 1009],
  [
    '256 KiB and one byte, in two fragments',
    Buffer.concat([
      frame('x'.repeat(200_000), { final: false }),
      frame('x'.repeat(62_145), { opcode: opcodes.continuation }),
    ]),
    1009,
  ],
  [
    'a message of 200 fragments',
    Buffer.concat([
      frame('x', { final: false }),
      ...Array.from({ length: 199 }, () => frame('x', { final: false, opcode: opcodes.continuation })),
    ]),
    1008,
  ],
  ['overlong UTF-8', frame(Buffer.from([0xc0, 0xaf])), 1007],
  ['a surrogate in UTF-8', frame(Buffer.from([0xed, 0xa0, 0x80])), 1007],
  ['half a character', frame(Buffer.from([0xe2, 0x82])), 1007],
  ['a close of one byte', frame('x', { opcode: opcodes.close }), 1002],
  ['close 999', closeFrame(999), 1002],
  ['close 1005', closeFrame(1_005), 1002],
  ['close 1006', closeFrame(1_006), 1002],
  ['close 5000', closeFrame(5_000), 1002],
  ['close 1000, answered', closeFrame(1_000), 1000],
  ['a long length for a short frame', frame('{}', { length: [126, 0, 2] }), 3501],
  ['a binary message', frame('{}', { opcode: opcodes.binary }), 3501],
  ['an empty message', frame(''), 3501],
])('frame: %s', async (_name, bytes, code) => {
  expect(await closeCode(await upgraded(bytes))).toBe(code)
})

test('a character cut in two by fragments is whole', async () => {
  const line = Buffer.from(`{"id":1,"connect":{"token":"ü"}}`)
  const cut = line.indexOf(0xc3) + 1
  const bytes = [
    frame(line.subarray(0, cut), { final: false }),
    frame(line.subarray(cut), { opcode: opcodes.continuation }),
  ]
  expect(await closeCode(await upgraded(Buffer.concat(bytes)))).toBe(3500)
})

test('a connect that comes one byte at a time, pipelined with the upgrade, is served', async () => {
  const socket = await upgraded()
  await once(socket, 'data')
  for (const byte of frame(await connectLine())) socket.write(Buffer.from([byte]))
  const [data] = (await once(socket, 'data')) as [Buffer]
  expect(data.toString('latin1')).toContain('"user:eve"')
  socket.destroy()
})

const deep = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth)
const rpc = (data: string): string => `{"id":2,"rpc":{"method":"echo","data":${data}}}`

test.each([
  ['not JSON', 'hello', 'not JSON'],
  ['two objects in a line', '{}{}', 'not JSON'],
  ['an array for an object', '[]', 'command must be an object'],
  ['null', 'null', 'command must be an object'],
  ['a number', '1', 'command must be an object'],
  ['a string', '"x"', 'command must be an object'],
  ['30,000 open brackets', '['.repeat(30_000), 'not JSON'],
  ['depth 30,000 and no command', deep(30_000), 'command must be an object'],
  ['a command without an id', '{"ping":{}}', 'id must be a whole number above zero'],
  ['id 0', '{"id":0,"ping":{}}', 'id must be a whole number above zero'],
  ['a negative id', '{"id":-1,"ping":{}}', 'id must be a whole number above zero'],
  ['a fraction as id', '{"id":1.5,"ping":{}}', 'id must be a whole number above zero'],
  ['a huge id', '{"id":4294967296,"ping":{}}', 'id must be a whole number above zero'],
  ['a string as id', '{"id":"2","ping":{}}', 'id must be a whole number above zero'],
  ['null as id', '{"id":null,"ping":{}}', 'id must be a whole number above zero'],
  ['an unknown command without an id', '{"teleport":{}}', 'id must be a whole number above zero'],
])('after connect: %s closes with 3501', async (_name, message, reason) => {
  const client = await RawClient.connect(world, 'eve')
  client.send(message)
  expect(await client.closed).toEqual({ code: 3501, reason })
})

const refusedAlone: readonly (readonly [string, string, number, string])[] = [
  ['depth 65', rpc(deep(63)), 400, 'LS_INPUT_INVALID: nested deeper than 64 levels'],
  ['depth 30,000', rpc(deep(30_000)), 400, 'LS_INPUT_INVALID: nested deeper than 64 levels'],
  [
    '5,000 keys',
    rpc(`{${Array.from({ length: 5_000 }, (_, n) => `"${n}":0`).join()}}`),
    400,
    'LS_INPUT_INVALID: more than 4096 keys',
  ],
  ['1e400', rpc('1e400'), 400, 'LS_INPUT_INVALID: number out of range'],
  ['a number of 60 KiB', rpc('9'.repeat(60_000)), 400, 'LS_INPUT_INVALID: number out of range'],
  [
    '64 KiB and more',
    rpc(`"${'x'.repeat(65_536)}"`),
    106,
    'LS_MESSAGE_TOO_LARGE: A command may be 65536 bytes long.',
  ],
  [
    '64 KiB and more in another writing',
    rpc(`"${'語'.repeat(22_000)}"`),
    106,
    'LS_MESSAGE_TOO_LARGE: A command may be 65536 bytes long.',
  ],
  ['two commands in one', '{"id":2,"ping":{},"rpc":{}}', 107, 'more than one command in an object'],
  ['a second connect', '{"id":2,"connect":{}}', 107, 'already connected'],
  ['null as a body', '{"id":2,"subscribe":null}', 107, 'subscribe must be an object'],
  ['an array as a body', '{"id":2,"subscribe":[]}', 107, 'subscribe must be an object'],
  ['no channel', '{"id":2,"subscribe":{}}', 107, 'channel is missing'],
  ['null as channel', '{"id":2,"subscribe":{"channel":null}}', 107, 'channel must be a string'],
  [
    'an object as channel',
    '{"id":2,"subscribe":{"channel":{"toString":"x"}}}',
    107,
    'channel must be a string',
  ],
  ['an array as method', '{"id":2,"rpc":{"method":["echo"]}}', 107, 'method must be a string'],
  ['a number as token', '{"id":2,"refresh":{"token":1}}', 107, 'token must be a string'],
  ...(
    [
      ['a negative offset', '"offset":-1', 'offset must be a whole number'],
      ['an offset of 2^63', '"offset":9223372036854775808', 'offset must be a whole number'],
      ['a string as offset', '"offset":"1"', 'offset must be a whole number'],
      ['a number as epoch', '"epoch":1', 'epoch must be a string'],
      ['a string as recover', '"recover":"yes"', 'recover must be a boolean'],
      ['a negative flag', '"flag":-2', 'flag must be a whole number'],
    ] as const
  ).map(
    ([name, field, text]) => [name, `{"id":2,"subscribe":{"channel":"room:1",${field}}}`, 107, text] as const,
  ),
]

test.each(refusedAlone)('%s refuses that command and no other', async (_name, message, code, text) => {
  const client = await RawClient.connect(world, 'eve')
  client.send(message, { id: 3, ping: {} })
  const written = code === 107 ? `LS_REQUEST_INVALID: ${text}` : text
  expect(await client.take(2)).toEqual([
    { id: 2, error: { code, message: written } },
    { id: 3, ping: {} },
  ])
  client.socket.terminate()
})

test('of 1,100 commands in one message the first 1,024 are carried out, the others may come again', async () => {
  const client = await RawClient.connect(world, 'eve')
  client.send(...Array.from({ length: 1_100 }, (_, n) => ({ id: n + 2, ping: {} })))
  const frames = await client.take(1_100)
  const refused = frames.filter(({ error }) => error !== undefined)
  expect(refused).toHaveLength(76)
  expect(refused[0]).toMatchObject({ id: 1_026, error: { code: 111, temporary: true } })
  expect(await client.ask({ id: 2_000, ping: {} })).toEqual({ id: 2_000, ping: {} })
  client.socket.terminate()
})

test.each([
  ['__proto__', '{"__proto__":{"polluted":true},"a":1}'],
  ['__proto__ in disguise', String.raw`[{"\u005f_proto__":{"polluted":true}}]`],
  ['__proto__ in __proto__', '{"__proto__":{"__proto__":{"polluted":true}}}'],
  ['__proto__ as no object', '{"__proto__":1}'],
  ['constructor', '{"constructor":{"prototype":{"polluted":true}}}'],
  ['prototype', '{"prototype":1}'],
])('a key like any other, carried to the method and back: %s', async (_name, data) => {
  const client = await RawClient.connect(world, 'eve')
  const seen: unknown[] = []
  world.methods.set('look', async ({ data: given }) => {
    seen.push(given)
    return given
  })
  client.send(`{"id":2,"__proto__":{},"rpc":{"method":"look","data":${data}}}`)
  const answer = await client.next()
  expect(JSON.stringify(answer['rpc'])).toBe(`{"data":${JSON.stringify(JSON.parse(data))}}`)
  expect(JSON.stringify(seen)).toBe(`[${JSON.stringify(JSON.parse(data))}]`)
  expect((seen[0] as { polluted?: unknown }).polluted).toBeUndefined()
  client.socket.terminate()
})

test('what came before the fault in the same message is answered first', async () => {
  const client = await RawClient.connect(world, 'eve')
  client.send({ id: 2, ping: {} }, '{"id":3', { id: 4, ping: {} })
  expect(await client.next()).toEqual({ id: 2, ping: {} })
  expect((await client.closed).code).toBe(3501)
})

test.each([
  ['then, toJSON and length as keys', '{"then":1,"toJSON":"x","length":-1,"hasOwnProperty":0}'],
  ['depth 62 inside', deep(62)],
  ['brackets in a string', JSON.stringify('['.repeat(1_000) + '"\\')],
  ['NUL and lone surrogates', String.raw`"\u0000\ud800"`],
  ['the word constructor as a value', '"constructor"'],
  ['nothing but null', 'null'],
])('harmless, and echoed: %s', async (_name, data) => {
  const client = await RawClient.connect(world, 'eve')
  expect(await client.ask(rpc(data))).toEqual({ id: 2, rpc: { data: JSON.parse(data) as unknown } })
  client.socket.terminate()
})

test.each([
  ['a subscribe', '{"id":1,"subscribe":{"channel":"room:1"}}', 3501],
  ['a pong', '{}', 3501],
  ['an rpc', rpc('1'), 3501],
  ['an unknown command', '{"id":1,"teleport":{}}', 3501],
  ['a connect without a token', '{"id":1,"connect":{}}', 3500],
  ['a token that is none', '{"id":1,"connect":{"token":"x"}}', 3500],
  ['null as token', '{"id":1,"connect":{"token":null}}', 3501],
  ['an array of subs', '{"id":1,"connect":{"subs":[]}}', 3501],
  ['a string as sub', '{"id":1,"connect":{"subs":{"user:eve":"x"}}}', 3501],
  ['a connect of 4 KiB and more', `{"id":1,"connect":{"token":"${'x'.repeat(4_096)}"}}`, 4500],
  ['a connect of 60 KiB', `{"id":1,"connect":{"token":"${'x'.repeat(60_000)}"}}`, 4500],
  ['depth 65', `{"id":1,"connect":{"data":${deep(63)}}}`, 3501],
  ['a connect of 300 KiB', `{"id":1,"connect":{"token":"${'x'.repeat(300_000)}"}}`, 1009],
])('before connect: %s', async (_name, message, code) => {
  const client = await RawClient.open(world.url)
  client.send(message)
  expect((await client.closed).code).toBe(code)
})

test('more than 256 KiB before the reply to connect is 4500', async () => {
  const slow = await startWorld({ ports: { authenticate: () => new Promise(() => {}) } })
  const client = await RawClient.open(slow.url)
  client.send({ id: 1, connect: { token: 'x' } })
  client.send('x'.repeat(200_000))
  client.send('x'.repeat(60_000))
  client.send('x'.repeat(60_000))
  expect((await client.closed).code).toBe(4500)
  await slow.stop()
})

test('a disconnect between each pair of steps leaves nothing behind', async () => {
  const steps = [
    await connectLine(),
    '{"id":2,"subscribe":{"channel":"room:steps"}}',
    '{"id":3,"rpc":{"method":"echo","data":1}}',
    '{"id":4,"unsubscribe":{"channel":"room:steps"}}',
  ]
  for (let count = 0; count <= steps.length; count += 1) {
    const client = await RawClient.open(world.url)
    for (const step of steps.slice(0, count)) client.send(step)
    if (count > 0) await client.take(count)
    client.socket.terminate()
  }
  // A ping takes a turn of the server, in which it may notice the ends of connections.
  while (world.gateway.connections() > 1) await control.ask({ id: (controlId += 1), ping: {} })
  expect(world.events.subscribersOf('room:steps')).toBe(0)
  expect(world.events.subscribersOf('user:eve')).toBe(0)
})

test('noise: 3,000 frames of random bytes and mutated commands end connections at most', async () => {
  // xorshift: the same noise in every run.
  let state = 0x2545f491
  const random = (below: number): number => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) % below
  }
  const samples = [
    rpc('{"a":[1,2,{"b":null}]}'),
    '{"id":3,"subscribe":{"channel":"room:1","recover":true}}',
    '{}',
  ]
  const growth = process.memoryUsage().rss
  for (let round = 0; round < 100; round += 1) {
    const client = await RawClient.connect(world, 'eve')
    for (let n = 0; n < 30; n += 1) {
      const bytes = Buffer.from(samples[random(samples.length)] ?? '')
      for (let change = random(4); change > 0; change -= 1) bytes[random(bytes.length)] = random(128)
      client.socket.send(bytes.toString('latin1'))
    }
    client.send('the end')
    expect((await client.closed).code).toBe(3501)
  }
  expect(process.memoryUsage().rss - growth).toBeLessThan(64 * 1024 * 1024)
})

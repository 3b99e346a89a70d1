// Starting points of the fuzzer: an entry for each known trap, and values that mutations substitute for others.
import { closeFrame, frame, opcodes } from './frames.ts'

const text = (message: unknown): Buffer => frame(JSON.stringify(message))

/** Frames that break the framing, or a rule of UTF-8. */
export const brokenFrames: readonly Buffer[] = [
  frame('{}', { masked: false }),
  ...[1, 2, 4].map((reserved) => frame('{}', { reserved })),
  ...[3, 4, 5, 6, 7, 11, 12, 13, 14, 15].map((opcode) => frame('{}', { opcode })),
  frame('', { opcode: opcodes.ping, final: false }),
  frame('x'.repeat(126), { opcode: opcodes.ping }),
  frame('{}', { opcode: opcodes.continuation }),
  Buffer.concat([frame('{', { final: false }), frame('}')]),
  Buffer.concat([
    frame('', { final: false }),
    ...Array.from({ length: 200 }, () => frame('x', { opcode: 0, final: false })),
  ]),
  frame('{}', { length: [126, 0, 2] }),
  frame('{}', { length: [127, 0, 0, 0, 0, 0, 0, 0, 2] }),
  frame('', { length: [127, 0x80, 0, 0, 0, 0, 0, 0, 0] }),
  frame('', { length: [127, 0, 0x20, 0, 0, 0, 0, 0, 0] }),
  frame('x'.repeat(70_000)),
  frame(Buffer.from([0xc3])),
  frame(Buffer.from([0xc0, 0xaf])),
  frame(Buffer.from([0xed, 0xa0, 0x80])),
  frame('', { opcode: opcodes.binary }),
  frame('x', { opcode: opcodes.close }),
  frame('', { opcode: opcodes.close }),
  ...[999, 1_000, 1_005, 1_006, 3_000, 4_999, 5_000].map(closeFrame),
]

const rpc = (method: string, data: unknown): object => ({ id: 3, rpc: { method, data } })
// Id of version 4: one of version 7 would be refused by its age once this file is old.
const id = 'f47ac10b-58cc-4372-a567-0e02b2c3d479'

/** Commands in order, as a peer that knows the protocol would send them. */
export const commands: readonly object[] = [
  {},
  { id: 2, ping: {} },
  { id: 2, subscribe: { channel: 'room:1', recover: true, offset: 1, epoch: 'x', flag: 2 } },
  { id: 2, subscribe: { channel: 'room:1' } },
  { id: 2, subscribe: { channel: 'room:secret' } },
  { id: 2, subscribe: { channel: 'user:control' } },
  { id: 2, unsubscribe: { channel: 'room:1' } },
  { id: 2, publish: { channel: 'room:control', data: {} } },
  { id: 2, history: { channel: 'room:control' } },
  { send: {} },
  rpc('note', { id, input: { room: '1', text: 'x' } }),
  rpc('note', { id, input: { room: '1', text: 'another' } }),
  rpc('lockstep.outcomes', { ids: [id] }),
  rpc('echo', JSON.parse('{"a":[1,{"b":null}],"then":1,"toJSON":"x","length":-1}')),
  rpc('teleport', {}),
]

/** Commands that end any connection. */
const fatalCommands: readonly object[] = [
  { id: 2, refresh: { token: 'x' } },
  { id: 2, connect: { token: 'x' } },
]

/** Values to put in the place of others. */
export const values: readonly unknown[] = [
  null, true, -1, 0, 1.5, 2 ** 31, 2 ** 32, 2 ** 53 + 1, -0, 1e308, '', ' ', '\u0000', '\ud800', '*', '>', '%', '{}', '\n', '..',
  '"\'', 'é', 'e\u0301', 'USER:control', 'u\u017fer:control', 'user:control', 'lockstep:revocations', 'room:control', 'room:..',
  'x'.repeat(256), 'x'.repeat(5_000), [], {}, [[]], [null], { length: 1 }, JSON.parse('{"then":1}'), { toJSON: 1 }, id, 'lockstep.outcomes',
] // prettier-ignore

/** Text that no serializer would write. */
export const brokenTexts: readonly string[] = [
  ...fatalCommands.map((command) => JSON.stringify(command)),
  '[', '{"id":', 'null', '1', '"x"', '[]', '{"id":2,"ping":{},"rpc":{}}', '{"id":1e400,"ping":{}}', '{"id":2,"ping":{},"__proto__":{"polluted":1}}',
  `{"id":2,"rpc":{"method":"echo","data":${'['.repeat(65)}${']'.repeat(65)}}}`,
  `{"id":2,"rpc":{"method":"echo","data":${'['.repeat(32_000)}}}`,
  `{"id":2,"rpc":{"method":"echo","data":${'9'.repeat(60_000)}}}`,
  `{"id":2,"rpc":{"method":"echo","data":{${Array.from({ length: 5_000 }, (_, n) => `"${n}":0`).join(',')}}}}`,
  Array.from({ length: 1025 }, () => '{"id":2,"ping":{}}').join('\n'),
  Array.from({ length: 128 }, (_, n) => `{"id":${n + 2},"subscribe":{"channel":"room:${n}"}}`).join('\n'),
] // prettier-ignore

const head = (lines: readonly string[]): string =>
  [
    'GET /lockstep/ws HTTP/1.1',
    'Host: x',
    'Upgrade: websocket',
    'Connection: Upgrade',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    ...lines,
    '',
    '',
  ].join('\r\n')

export const handshake = head(['Sec-WebSocket-Version: 13'])

/** Handshakes that are wrong, or odd. */
export const handshakes: readonly string[] = [
  ...['0', '8', '99', 'x', ''].map((version) => head([`Sec-WebSocket-Version: ${version}`])),
  head([]),
  head(['Sec-WebSocket-Version: 13', ...Array.from({ length: 200 }, (_, n) => `X-${n}: x`)]),
  head(['Sec-WebSocket-Version: 13', `X-Long: ${'x'.repeat(32_768)}`]),
  head([
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=99',
  ]),
  head(['Sec-WebSocket-Version: 13', 'Origin: https://evil.example']),
  head(['Sec-WebSocket-Version: 13', 'Transfer-Encoding: chunked', 'Content-Length: 5']),
  handshake.replace('GET', 'POST'),
  handshake.replace('/lockstep/ws', '/lockstep/../ws'),
  handshake.replace('/lockstep/ws', '/lockstep/health'),
  'GET / HTTP/9.9\r\n\r\n',
  '\u0016\u0003\u0001',
]

export const connectFrame = (token: string): Buffer => text({ id: 1, connect: { token } })

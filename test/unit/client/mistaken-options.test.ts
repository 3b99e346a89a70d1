// Options that are misspelt or of a wrong kind. Taken silently they lose events, or ask a server hundreds of times a second.
import { afterEach, describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { createClient, type Call, type Client } from '../../../src/client/index.ts'
import { FakeGateway, Queue, tokenOf } from './fake-gateway.ts'

const clients: Client[] = []
afterEach(() => {
  for (const client of clients.splice(0)) client.close()
})

type Loose = Record<'call' | 'channel' | 'query', (...given: unknown[]) => unknown>

function create(options: object = {}): Loose {
  const client = createClient({
    url: 'ws://127.0.0.1:1/lockstep/ws',
    getToken: () => Promise.resolve(''),
    websocket: WebSocket,
    storage: null,
    autoConnect: false,
    ...options,
  })
  clients.push(client)
  return client as unknown as Loose
}

const untyped = createClient as (...given: unknown[]) => unknown
const url = /not a URL the client can connect to.*wss:\/\//
const position = /\{ offset, epoch \}/

const mistakes: readonly (readonly [what: string, make: () => unknown, ...words: RegExp[]])[] = [
  ['createClient without options', () => untyped(), /createClient.*object/],
  ['createClient with a URL alone', () => untyped('ws://127.0.0.1:1'), /createClient.*object/],
  [
    'an option of createClient that is misspelt',
    () => create({ reconnectDelayMs: 5 }),
    /createClient.*"reconnectDelayMs".*minReconnectDelayMs/,
  ],
  ['no url', () => create({ url: undefined }), url],
  ['a token in place of getToken', () => create({ getToken: 'swordfish' }), /"getToken".*function/],
  ['a storage by its name', () => create({ storage: 'localStorage' }), /"storage".*object/],
  ['a storageKey that is no text', () => create({ storageKey: 1 }), /"storageKey".*string/],
  ['a user that is no text', () => create({ user: 7 }), /"user".*string/],
  ['a WebSocket in place of its class', () => create({ websocket: {} }), /"websocket".*function/],
  ['autoConnect as a text', () => create({ autoConnect: 'false' }), /"autoConnect".*boolean/],
  ['onError that is no function', () => create({ onError: console }), /"onError".*function/],
  [
    'minReconnectDelayMs of NaN',
    () => create({ minReconnectDelayMs: Number.NaN }),
    /"minReconnectDelayMs".*1/,
  ],
  ['minReconnectDelayMs of 0', () => create({ minReconnectDelayMs: 0 }), /"minReconnectDelayMs".*1/],
  ['maxReconnectDelayMs below 0', () => create({ maxReconnectDelayMs: -1 }), /"maxReconnectDelayMs".*1/],
  ['a delay as a text', () => create({ maxReconnectDelayMs: '20' }), /"maxReconnectDelayMs".*number/],
  [
    'a shortest delay above the longest',
    () => create({ minReconnectDelayMs: 500, maxReconnectDelayMs: 100 }),
    /minReconnectDelayMs \(500\).*maxReconnectDelayMs \(100\)/,
  ],
  [
    'a shortest delay above the longest one by default',
    () => create({ minReconnectDelayMs: 30_000 }),
    /minReconnectDelayMs \(30000\).*maxReconnectDelayMs \(20000\)/,
  ],
  ['timeoutMs of NaN', () => create({ timeoutMs: Number.NaN }), /"timeoutMs".*1/],
  ['timeoutMs longer than a timer', () => create({ timeoutMs: 2 ** 31 }), /"timeoutMs".*2147483647/],
  ['waitForConnectionMs below 0', () => create({ waitForConnectionMs: -1 }), /"waitForConnectionMs".*0/],
  ['rememberForMs of NaN', () => create({ rememberForMs: Number.NaN }), /"rememberForMs".*0/],
  ['a url of another scheme', () => create({ url: 'ftp://127.0.0.1/lockstep/ws' }), url],
  ['a url without a scheme', () => create({ url: 'localhost:3000/lockstep/ws' }), url],
  ['a relative url where there is no page', () => create({ url: '/lockstep/ws' }), url],
  ['an empty url', () => create({ url: '' }), /"url".*string/],
  ['a channel without a name', () => create().channel(), /name of a channel/],
  ['a channel with an empty name', () => create().channel(''), /name of a channel/],
  [
    'an option of channel that is misspelt',
    () => create().channel('a:1', { from: 1 }),
    /channel.*"from".*since/,
  ],
  ['a listener in place of options', () => create().channel('a:1', () => {}), /channel.*object/],
  ['getState that is no function', () => create().channel('a:1', { getState: {} }), /"getState".*function/],
  ['since as an offset alone', () => create().channel('a:1', { since: 5 }), position],
  ['since without an epoch', () => create().channel('a:1', { since: { offset: 5 } }), position],
  ['since of a text', () => create().channel('a:1', { since: { offset: '5', epoch: 'e' } }), position],
  ['since below 0', () => create().channel('a:1', { since: { offset: -1, epoch: 'e' } }), position],
  [
    'since between two events',
    () => create().channel('a:1', { since: { offset: 1.5, epoch: 'e' } }),
    position,
  ],
  ['since of NaN', () => create().channel('a:1', { since: { offset: Number.NaN, epoch: 'e' } }), position],
  [
    'since without an end',
    () => create().channel('a:1', { since: { offset: Infinity, epoch: 'e' } }),
    position,
  ],
  ['since of null', () => create().channel('a:1', { since: null }), position],
  ['a call without a name', () => create().call(), /name of an operation/],
  ['a call with an empty name', () => create().call('', { text: 'hi' }), /name of an operation/],
  ['a call of a function', () => create().call(() => 'send', 1), /name of an operation/],
  ['an id in place of the options of a call', () => create().call('send', 1, 'id'), /call.*object/],
  [
    'an option of call that is misspelt',
    () => create().call('send', 1, { abort: 1 }),
    /call.*"abort".*signal/,
  ],
  [
    'a controller in place of its signal',
    () => create().call('send', 1, { signal: new AbortController() }),
    /"signal".*AbortSignal/,
  ],
]

test.each(mistakes.map(([what, make, ...words]) => ({ what, make, words })))(
  '$what is refused at once, with what to write',
  ({ make, words }) => {
    expect(make).toThrow(expect.objectContaining({ reason: 'LS_CLIENT_CONFIG_INVALID' }))
    for (const word of words) expect(make).toThrow(word)
    expect(make).not.toThrow(/swordfish/)
  },
)

test('a refused call leaves nothing behind', () => {
  const client = create()
  expect(() => client.call('send', 1, { signal: {} })).toThrow(/AbortSignal/)
  expect(clients[0]?.pending).toEqual([])
})

const written: readonly (readonly [what: string, input: unknown, ...words: RegExp[]])[] = [
  ['a function', () => 'text', /function/],
  ['a symbol', Symbol('text'), /symbol/],
  ['a function within', { text: 'hi', onSent: () => {} }, /a function.*onSent/],
  ['a symbol in a list', ['hi', Symbol('text')], /a symbol.*1/],
  ['a number that is none', { price: Number.NaN }, /NaN.*price/],
  ['an infinite number', { limits: [0, Infinity] }, /Infinity.*1/],
  ['a Map', { tags: new Map([['a', 1]]) }, /Map.*tags/],
  ['a Set', new Set([1]), /Set/],
]

describe.each(written.map(([what, input, ...words]) => ({ what, input, words })))(
  'an input that JSON would take and lose, as $what,',
  ({ input, words }) => {
    test('is refused', async () => {
      const client = create()
      const asks = [() => (client.call('send', input) as Call).outcome, () => client.query('list', input)]
      for (const ask of asks) {
        const error: unknown = await Promise.resolve(ask()).catch((thrown: unknown) => thrown)
        expect(error).toMatchObject({ reason: 'LS_INPUT_INVALID', retryable: false })
        for (const word of words) expect((error as Error).message).toMatch(word)
      }
      expect(clients[0]?.pending).toEqual([])
    })
  },
)

test('an input that JSON writes in its own way is taken', () => {
  const client = create()
  const inputs = [
    undefined,
    null,
    { text: undefined },
    [undefined],
    new Date(0),
    { toJSON: () => 'text' },
    -0,
  ]
  for (const input of inputs) client.call('send', input)
  expect(clients[0]?.pending).toHaveLength(inputs.length)
})

test('a query without a name is refused', async () => {
  await expect(create().query()).rejects.toMatchObject({
    reason: 'LS_CLIENT_CONFIG_INVALID',
    message: expect.stringMatching(/name of a query/) as string,
  })
})

test('options that are given as undefined are as good as none', () => {
  expect(() =>
    create({ storageKey: undefined, timeoutMs: undefined, onError: undefined, user: undefined }),
  ).not.toThrow()
  const client = create()
  expect(() => client.channel('a:1', { since: undefined, getState: undefined })).not.toThrow()
})

test('a state whose position is of a wrong kind is reported, and no event is lost for it', async () => {
  const gateway = await FakeGateway.start()
  const errors = new Queue<unknown>()
  const client = createClient({
    url: gateway.url,
    getToken: () => Promise.resolve(tokenOf(gateway.user)),
    websocket: WebSocket,
    storage: null,
    minReconnectDelayMs: 1,
    maxReconnectDelayMs: 4,
    onError: (error) => errors.push(error),
  })
  clients.push(client)
  const getState = (() => Promise.resolve({ offset: '3' })) as unknown as () => Promise<never>
  const channel = client.channel('room:1', { getState })
  expect(await errors.next()).toMatchObject({
    reason: 'LS_CLIENT_CONFIG_INVALID',
    message: expect.stringMatching(position) as string,
  })
  expect(channel.state).toBe('subscribing')
  client.close()
  await gateway.close()
})

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { fillPattern, parsePattern, readPattern } from '../../../src/core/channel-pattern.ts'
import { commonName } from '../../../src/core/pattern-overlap.ts'
import { ChannelRegistry, type Checks } from '../../../src/core/channel-registry.ts'
import {
  defineChannel,
  isChannelName,
  LockstepError,
  silentLogger,
  validateEvent,
  type AnyFamily,
} from '../../../src/core/index.ts'
import { databaseErrorCode } from '../../../src/postgres/index.ts'
import { limits } from '../../../src/protocol/index.ts'

const nothing = { events: {}, canSubscribe: () => true }
const withCode = (code: string): unknown => expect.objectContaining({ code })

/** Names that mean something else to Postgres, Redis, NATS or a person than they seem to. */
const hostile = [
  '',
  ' ',
  '*',
  '>',
  '{}',
  '{id}',
  'a b',
  'a\n',
  'a\0',
  'a\t',
  '"',
  "'",
  '`',
  '\\',
  '..',
  'a..b',
  '\u{e9}',
  'e\u{301}',
  '\u{17f}',
  '\u{212a}',
  '\u{130}',
  '\u{430}',
  '\u{ff0a}',
  '\u202e',
  '\ud800',
  '\u{1f600}',
  '$1',
  'a;b',
  'a,b',
  '(a)',
  '[a]',
  '?',
  '&',
  '<',
  '^',
]

test('a slash is part of a name, and of what a parameter holds', () => {
  const file = defineChannel('file:{path}', nothing)
  expect(file({ path: 'src/core/ids.ts' }).name).toBe('file:src/core/ids.ts')
  expect(file.match('file:src/core/ids.ts')).toEqual({ path: 'src/core/ids.ts' })
  expect(file.match('file:../secret')).toBeUndefined()
})

test('the family of each user is taken, and the refusal names another', () => {
  expect(() => defineChannel('user:{id}', nothing)).toThrow(
    expect.objectContaining({
      code: 'LS_CONFIG_INVALID',
      message: expect.stringContaining('such as "account:{id}"'),
    }),
  )
})

/** Checks that read over a database with no more than a query. */
const checksOver = (db: unknown): Checks => ({ check: async (_, ask) => ask(db) })

describe('a channel pattern', () => {
  const thread = defineChannel('tenant:{tenant}:thread:{id}', nothing)
  const param = fc.string({
    unit: fc.constantFrom(...'ABCxyz019._~@|=+-:/#%'.split('')),
    minLength: 1,
    maxLength: 40,
  })
  const safe = param.filter((text) => !text.includes('..'))

  test('gives a name for params, and the params back for that name', () => {
    fc.assert(
      fc.property(safe, safe, (tenant, id) => {
        const { name } = thread({ tenant, id })
        expect(isChannelName(name)).toBe(true)
        expect(name.split(':')).toHaveLength(4)
        expect(thread.match(name)).toEqual({ tenant, id })
      }),
    )
  })

  test('two lists of params never share a name', () => {
    fc.assert(
      fc.property(safe, safe, safe, safe, (tenant, id, otherTenant, otherId) => {
        fc.pre(tenant !== otherTenant || id !== otherId)
        expect(thread({ tenant, id }).name).not.toBe(thread({ tenant: otherTenant, id: otherId }).name)
      }),
    )
  })

  test('answers any text with params that give it back, or with nothing', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.string({ unit: 'grapheme' })), (tail) => {
        const name = `tenant:${tail}`
        const params = thread.match(name)
        expect(params === undefined ? name : thread(params as never).name).toBe(name)
      }),
    )
  })

  test.each(hostile)('refuses %j as a param and as a name', (value) => {
    const conversation = defineChannel('conversation:{id}', nothing)
    expect(() => conversation({ id: value })).toThrow(withCode('LS_CHANNEL_NAME_INVALID'))
    expect(conversation.match(`conversation:${value}`)).toBeUndefined()
    expect(isChannelName(`conversation:${value}`)).toBe(value === '')
  })

  test.each([
    ['a number', 7],
    ['null', null],
    ['an object that prints well', { toString: () => 'a' }],
    ['nothing at all', undefined],
  ])('refuses as a param: %s', (_name, id) => {
    const conversation = defineChannel('conversation:{id}', nothing)
    expect(() => conversation({ id } as never)).toThrow(withCode('LS_CHANNEL_NAME_INVALID'))
  })

  test('tells names of another case apart, and does not match a part of a name', () => {
    const conversation = defineChannel('conversation:{id}', nothing)
    for (const name of ['Conversation:1', 'conversation:1:2', 'x.conversation:1', 'conversation:']) {
      expect(conversation.match(name)).toBeUndefined()
    }
  })

  test('keeps plain names as they are, and encodes what would divide them', () => {
    const conversation = defineChannel('conversation:{id}', nothing)
    expect(conversation({ id: 'auth0|a.b@c-1' }).name).toBe('conversation:auth0|a.b@c-1')
    expect(conversation({ id: 'did:plc:x/y#1%' }).name).toBe('conversation:did%3Aplc%3Ax/y%231%25')
    expect(conversation.match('conversation:did%3Aplc%3Ax')).toEqual({ id: 'did:plc:x' })
    // A channel has one name: a character that need not be encoded must not be, and the others only in one way.
    for (const name of ['conversation:%41', 'conversation:%3a', 'conversation:a%', 'conversation:a:b'])
      expect(conversation.match(name)).toBeUndefined()
  })

  test('has one reading for each name: a tenant cannot be stretched over what divides it from the rest', () => {
    const document = defineChannel('doc:{tenant}.{id}', nothing)
    expect(document({ tenant: 'acme', id: 'eu.secret' }).name).toBe('doc:acme.eu.secret')
    expect(document({ tenant: 'acme.eu', id: 'secret' }).name).toBe('doc:acme%2Eeu.secret')
    expect(document.match('doc:acme.eu.secret')).toEqual({ tenant: 'acme', id: 'eu.secret' })
    expect(document.match('doc:acme%2Eeu.secret')).toEqual({ tenant: 'acme.eu', id: 'secret' })
  })

  test('takes the characters of its own text as they are', () => {
    const dotted = defineChannel('a.b+{id}', nothing)
    expect(dotted.match('a.b+1')).toEqual({ id: '1' })
    expect(dotted.match('axb+1')).toBeUndefined()
    expect(dotted.match('a.bb1')).toBeUndefined()
  })

  test('ends at the longest name that can travel', () => {
    const conversation = defineChannel('c:{id}', nothing)
    expect(conversation({ id: 'x'.repeat(limits.maxChannelBytes - 2) }).name).toHaveLength(
      limits.maxChannelBytes,
    )
    expect(() => conversation({ id: 'x'.repeat(limits.maxChannelBytes - 1) })).toThrow(
      withCode('LS_CHANNEL_NAME_INVALID'),
    )
  })

  test.each([
    '',
    '{id}',
    '{id}:x',
    'user:{id}',
    'user:ada',
    'a:{id}:{id}',
    'a:{}',
    'a:{1d}',
    'a:{id',
    'a:id}',
    'a:{{id}}',
    'a b:{id}',
    'x:{a}{b}',
    'us{rest}:{id}',
    'a..b:{id}',
    'a%20:{id}',
    'é:{id}',
  ])('cannot be %j', (pattern) => {
    expect(() => defineChannel(pattern, nothing)).toThrow(withCode('LS_CONFIG_INVALID'))
  })
})

describe('an event', () => {
  const room = defineChannel('room:{id}', {
    events: { counted: z.object({ n: z.coerce.number() }) },
    canSubscribe: () => true,
  })({ id: '1' })

  test('is what its schema gives back', () => {
    expect(validateEvent(room, 'counted', { n: '7', extra: true })).toEqual({ n: 7 })
  })

  test('that does not match its schema is refused with the path', () => {
    expect(() => validateEvent(room, 'counted', { n: 'x' })).toThrow(
      expect.objectContaining({
        code: 'LS_EVENT_INVALID',
        details: { issues: [expect.objectContaining({ path: 'n' })] },
      }),
    )
  })

  test.each(['unknown', 'toString', '__proto__', 'constructor'])('of type %s is unknown', (type) => {
    expect(() => validateEvent(room, type, {})).toThrow(withCode('LS_EVENT_UNKNOWN'))
  })
})

describe('who may listen', () => {
  const user = { id: 'ada' }
  const registryOf = (...families: AnyFamily[]): ChannelRegistry => {
    const registry = new ChannelRegistry({
      checks: checksOver({ a: 'database' }),
      logger: silentLogger,
      databaseCode: databaseErrorCode,
    })
    for (const family of families) registry.declare(family)
    return registry
  }
  const answering = (canSubscribe: () => unknown): ChannelRegistry =>
    registryOf(defineChannel('room:{id}', { events: {}, canSubscribe: canSubscribe as () => boolean }))

  test('is asked with the user, the params and the database', async () => {
    const asked: unknown[] = []
    const room = defineChannel('room:{id}', {
      events: {},
      canSubscribe: (question) => asked.push(question) > 0,
    })
    await registryOf(room).authorize(user, 'room:7')
    expect(asked).toEqual([{ user, params: { id: '7' }, channel: 'room:7', db: { a: 'database' } }])
  })

  test.each([
    ['false', false],
    ['a truthy word', 'yes'],
    ['1', 1],
    ['an object', {}],
    ['nothing', undefined],
  ])('is nobody when the check answers %s', async (_name, answer) => {
    const refused = answering(() => answer).authorize(user, 'room:1')
    await expect(refused).rejects.toMatchObject({ code: 'LS_CHANNEL_FORBIDDEN' })
  })

  test.each([
    ['a fault in its code', new TypeError('rows is undefined'), 'LS_CHANNEL_CHECK_FAILED'],
    ['no error at all', 'no', 'LS_CHANNEL_CHECK_FAILED'],
    [
      'a refusal of the database',
      Object.assign(new Error('x'), { code: '42P01' }),
      'LS_CHANNEL_CHECK_FAILED',
    ],
    [
      'a value of the wrong type',
      Object.assign(new Error('x'), { code: '22P02' }),
      'LS_CHANNEL_CHECK_FAILED',
    ],
    ['a final error of the catalogue', new LockstepError('LS_DATA_INVALID'), 'LS_CHANNEL_CHECK_FAILED'],
    [
      'a database that is away',
      Object.assign(new Error('x'), { code: 'ECONNREFUSED' }),
      'LS_DATABASE_UNREACHABLE',
    ],
    ['a connection that broke', Object.assign(new Error('x'), { code: '57P01' }), 'LS_CONNECTION_LOST'],
    ['a full pool', new LockstepError('LS_POOL_EXHAUSTED'), 'LS_POOL_EXHAUSTED'],
  ])('is nobody when the check throws %s; the client may ask again', async (_name, thrown, code) => {
    const broken = answering(() => Promise.reject(thrown))
    await expect(broken.authorize(user, 'room:1')).rejects.toMatchObject({ code, retryable: true })
  })

  test('what a check throws is logged with its cause', async () => {
    const logged: unknown[] = []
    const thrown = new TypeError('rows is undefined')
    const room = defineChannel('room:{id}', {
      events: {},
      canSubscribe: () => {
        throw thrown
      },
    })
    const logger = { ...silentLogger, error: (fields: object, text: string) => logged.push(fields, text) }
    const registry = new ChannelRegistry({ checks: checksOver({}), logger, databaseCode: databaseErrorCode })
    registry.declare(room)
    await expect(registry.authorize(user, 'room:1')).rejects.toMatchObject({ cause: thrown })
    expect(logged).toEqual([
      { error: thrown, channel: 'room:1', user },
      'canSubscribe failed: rows is undefined',
    ])
  })

  test.each([
    ['user:eve', 'LS_CHANNEL_FORBIDDEN'],
    ['user:ADA', 'LS_CHANNEL_FORBIDDEN'],
    ['user:ada:x', 'LS_CHANNEL_FORBIDDEN'],
    ['user:', 'LS_CHANNEL_FORBIDDEN'],
    ['nowhere:1', 'LS_CHANNEL_UNKNOWN'],
    ['room:*', 'LS_CHANNEL_NAME_INVALID'],
    ['', 'LS_CHANNEL_NAME_INVALID'],
  ])('%s is refused with %s', async (channel, code) => {
    await expect(answering(() => true).authorize(user, channel)).rejects.toMatchObject({ code })
  })

  test('the own channel needs no permission', async () => {
    await expect(registryOf().authorize(user, 'user:ada')).resolves.toBeUndefined()
  })

  test.each([
    ['room:{id}', 'room:{id}', 'room:a'],
    ['room:{id}', 'room:{name}', 'room:a'],
    ['room:{id}', 'room:private-{id}', 'room:private-a'],
    ['room:{id}', 'room:lobby', 'room:lobby'],
    ['doc:{tenant}.{id}', 'doc:{id}', 'doc:a.a'],
    ['a.{x}', 'a{x}', 'a.a'],
    ['a:.{x}', 'a:{x}.', 'a:.a.'],
  ])('the families %s and %s are refused, since both have the name %s', (one, other, name) => {
    expect(() => registryOf(defineChannel(one, nothing), defineChannel(other, nothing))).toThrow(
      expect.objectContaining({ code: 'LS_CONFIG_INVALID', message: expect.stringContaining(`"${name}"`) }),
    )
  })

  test.each([
    ['a:{x}:{y}', 'b:{x}:{y}'],
    ['a:{x}', 'a:{x}:{y}'],
    ['room:{id}', 'rooms:{id}'],
  ])('the families %s and %s stand side by side', (one, other) => {
    expect(() => registryOf(defineChannel(one, nothing), defineChannel(other, nothing))).not.toThrow()
  })

  test('families are told apart exactly: no name of one is read by another that was accepted beside it', () => {
    const literal = fc.string({ unit: fc.constantFrom('a', '.', ':', '/'), minLength: 1, maxLength: 2 })
    const pattern = fc
      .tuple(fc.constantFrom('r', 'r:', 'ra'), fc.array(literal, { maxLength: 2 }), fc.boolean())
      .map(
        ([head, literals, ends]) =>
          [head, ...literals].map((text, index) => `${text}{p${index}}`).join('') + (ends ? 'a' : ''),
      )
      .filter((text) => !/\.\.|:\//.test(text))
    const values = fc.array(
      fc.string({ unit: fc.constantFrom('a', '.', ':', '/', 'b'), minLength: 1, maxLength: 3 }),
      { minLength: 4, maxLength: 4 },
    )
    fc.assert(
      fc.property(
        pattern,
        pattern,
        fc.array(values, { minLength: 20, maxLength: 20 }),
        (one, other, lists) => {
          const patterns = [parsePattern(one), parsePattern(other)] as const
          const common = commonName(...patterns)
          const names = lists.map((list) =>
            fillPattern(patterns[0], Object.fromEntries(list.map((value, index) => [`p${index}`, value]))),
          )
          const shared = names.filter(
            (name) => !name.includes('..') && readPattern(patterns[1], name) !== undefined,
          )
          const readings = common === undefined ? [] : patterns.map((each) => readPattern(each, common))
          expect({ shared: common === undefined ? shared : [], readings }).toEqual({
            shared: [],
            readings: readings.map(() => expect.any(Object)),
          })
        },
      ),
      { numRuns: 200 },
    )
  })
})

test.each(['run.state', 'draft.chunk', 'lockstep.touched'])(
  'an event named %s is refused, since it would stand among those of Lockstep',
  (name) => {
    const define = () =>
      defineChannel('chat:{id}', { events: { [name]: z.object({}) }, canSubscribe: () => true })
    expect(define).toThrow(
      `Channel "chat:{id}" declares an event "${name}". Names that begin with run., draft. or lockstep. belong to Lockstep.`,
    )
  },
)

// Mistakes of a user without types in drivers, buses and declarations: an error of the catalogue says what was given, and what to write.
import { PGlite } from '@electric-sql/pglite'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import {
  canSubscribe,
  client,
  conversation,
  create,
  database,
  declareConversation,
  entry,
  events,
  pool,
  refuses,
  secret,
  thrownBy,
  type Loose,
} from '../core/mistake-table.ts'

const input = z.object({ text: z.string() })
const work = async (): Promise<void> => {}
const node = create({ auth: { secret } })

describe('the drivers', () => {
  refuses('LS_CONFIG_INVALID', [
    ['fromPool without a pool', () => entry('fromPool')(), 'fromPool', 'undefined', 'new pg.Pool('],
    ['fromPool with an address', () => entry('fromPool')('postgres://ada:hunter2@db/app'), 'new pg.Pool('],
    ['fromPool with a client', () => entry('fromPool')(client), 'a client is one connection'],
    ['fromPool with a promise', () => entry('fromPool')(Promise.resolve(pool)), 'await'],
    ['fromPool with a configuration', () => entry('fromPool')({ connectionString: 'x' }), 'new pg.Pool('],
    [
      'fromPool with a misspelt option',
      () => entry('fromPool')(pool, { shema: 'x' }),
      '"shema" is no option of fromPool. Did you mean "schema"?',
    ],
    [
      'fromPool with a number as text',
      () => entry('fromPool')(pool, { ownConnections: '3' }),
      '"ownConnections"',
      'the text "3"',
    ],
    [
      'fromPool with a number for the schema',
      () => entry('fromPool')(pool, { schema: 5 }),
      '"schema"',
      'the number 5',
    ],
    ['fromPool with null', () => entry('fromPool')(pool, null), 'null'],
    ['fromPglite without an instance', () => entry('fromPglite')(), 'fromPglite', 'undefined'],
    ['fromPglite with a promise', () => entry('fromPglite')(Promise.resolve({})), 'await'],
    ['fromPglite with a folder', () => entry('fromPglite')('./data'), 'openPglite("./data")'],
    [
      'fromPglite with what openPglite gave',
      () => entry('fromPglite')({ pglite: {}, close() {} }),
      'fromPglite(opened.pglite)',
    ],
    ['fromPglite with a pool', () => entry('fromPglite')(pool), 'fromPool(pool)'],
    [
      'fromPglite with a misspelt option',
      () => entry('fromPglite')({ query() {}, exec() {}, transaction() {} }, { scheme: 'x' }),
      '"schema"',
    ],
    ['openPglite without a folder', () => entry('openPglite')(), 'openPglite', 'undefined'],
    [
      'openPglite with an address',
      () => entry('openPglite')('postgres://ada:hunter2@db/app'),
      'openPglite takes the path of a folder, and got the address of a database.',
      'openPglite("./data")',
    ],
    [
      'openPglite with an address of PGlite',
      () => entry('openPglite')('memory://hunter2'),
      'the path of a folder',
    ],
    [
      'openPglite with an address of libpq',
      () => entry('openPglite')('host=db password=hunter2'),
      'the path of a folder',
    ],
    ['openPglite with options', () => entry('openPglite')({ dataDir: 'x' }), 'openPglite', 'an object'],
  ])

  it('a PGlite instance for the database names fromPglite', async () => {
    const pglite = new PGlite()
    const error = await thrownBy(() => create({ database: pglite }))
    await pglite.close()
    expect(error).toMatchObject({
      code: 'LS_CONFIG_INVALID',
      message: expect.stringContaining('Write fromPglite(pglite).'),
    })
  })
})

describe('the buses', () => {
  const redis = { isReady: true, publish() {}, subscribe() {}, unsubscribe() {}, on() {}, off() {} }
  refuses('LS_CONFIG_INVALID', [
    ['memoryBus with options', () => entry('memoryBus')({ name: 'a' }), 'memoryBus', 'a text'],
    ['postgresBus without a database', () => entry('postgresBus')(), 'postgresBus', 'fromPool(pool)'],
    ['postgresBus with a pool', () => entry('postgresBus')(pool), 'Write fromPool(pool).'],
    [
      'postgresBus with a misspelt option',
      () => entry('postgresBus')(database, { selfTest: 5 }),
      '"selfTestMs"',
    ],
    [
      'postgresBus with a number as text',
      () => entry('postgresBus')(database, { selfTestMs: '5' }),
      'the text "5"',
    ],
    [
      'postgresBus that tests itself never',
      () => entry('postgresBus')(database, { selfTestMs: 0 }),
      'selfTestMs',
    ],
    ['redisBus without options', () => entry('redisBus')(), 'redisBus', 'undefined'],
    ['redisBus with one client', () => entry('redisBus')(redis), 'redisBus({ publisher, subscriber })'],
    [
      'redisBus without a subscriber',
      () => entry('redisBus')({ publisher: redis }),
      '"subscriber"',
      'duplicate()',
    ],
    [
      'redisBus with an address',
      () => entry('redisBus')({ publisher: 'redis://:hunter2@a', subscriber: redis }),
      '"publisher"',
    ],
    [
      'redisBus with one client twice',
      () => entry('redisBus')({ publisher: redis, subscriber: redis }),
      'duplicate()',
    ],
    [
      'natsBus without a connection',
      () => entry('natsBus')(),
      'natsBus',
      '"connection"',
      'publish, subscribe',
    ],
    ['natsBus with a promise', () => entry('natsBus')(Promise.resolve({})), 'await'],
    [
      'natsBus with a misspelt option',
      () =>
        entry('natsBus')(
          { publish() {}, subscribe() {}, flush() {}, isClosed() {}, status() {} },
          { selftestMs: 1 },
        ),
      '"selfTestMs"',
    ],
  ])
})

describe('channels', () => {
  const { channel } = node
  const define: Loose = (...given) => channel.apply(node, given)
  refuses('LS_CONFIG_INVALID', [
    ['no pattern', () => define(), 'undefined', 'conversation:{id}'],
    ['a symbol for the pattern', () => define(Symbol('x')), 'a symbol'],
    ['no options', () => define('a:{id}'), 'channel "a:{id}"', 'undefined'],
    [
      'a list for the events',
      () => define('a:{id}', { events: ['sent'], canSubscribe }),
      '"events"',
      'a list',
    ],
    [
      'an event without a schema',
      () => define('a:{id}', { events: { sent: {} }, canSubscribe }),
      '"events.sent"',
      'Standard Schema',
    ],
    ['no canSubscribe', () => define('a:{id}', { events }), '"canSubscribe"', 'a function'],
    ['canSubscribe: true', () => define('a:{id}', { events, canSubscribe: true }), '"canSubscribe"', 'true'],
    ['a misspelt option', () => define('a:{id}', { events, canSubcribe: canSubscribe }), '"canSubscribe"'],
    [
      'canSubscribe of an internal channel',
      () => define('a:{id}', { internal: true, canSubscribe }),
      '"canSubscribe"',
      'left out',
    ],
    ['internal: 1', () => define('a:{id}', { internal: 1, canSubscribe }), '"internal"', 'true or false'],
    [
      'a channel twice',
      () => [declareConversation(node), declareConversation(node)],
      'conversation:{id}',
      'both have the name',
    ],
    [
      'a channel after the node has begun to start',
      () => {
        const begun = create({})
        void Promise.resolve(begun.start()).catch(() => {})
        return begun.channel('late:{id}', { events, canSubscribe })
      },
      'Channel "late:{id}"',
      'before lockstep.start()',
    ],
  ])
  refuses('LS_CHANNEL_NAME_INVALID', [
    ['a number for a parameter', () => conversation({ id: 42 }), '"id"', 'number'],
    ['no parameters', () => conversation(), '"id"', 'undefined'],
    ['a text for the parameters', () => conversation('42'), 'conversation({ id: "42" })'],
  ])
})

describe('operations and queries', () => {
  refuses('LS_CONFIG_INVALID', [
    ['an operation without a name', () => node.operation({ input, run: work }), 'an operation', 'an object'],
    ['an operation without options', () => node.operation('send_a'), 'operation "send_a"', 'undefined'],
    [
      'an operation without run',
      () => node.operation('send_b', { input }),
      'operation "send_b" needs the option "run"',
    ],
    [
      'an operation whose run is no function',
      () => node.operation('send_c', { input, run: 'x' }),
      '"run"',
      'the text "x"',
    ],
    [
      'an operation that is only a function',
      () => node.operation('send_d', work),
      'a function',
      '{ input, run }',
    ],
    [
      'an operation without input',
      () => node.operation('send_e', { run: work }),
      '"input"',
      'Standard Schema',
    ],
    [
      'an operation whose input is an object',
      () => node.operation('send_f', { input: { text: 'string' }, run: work }),
      '"input"',
      'Standard Schema',
    ],
    [
      'a misspelt option',
      () => node.operation('send_g', { input, run: work, authorise: () => true }),
      '"authorise" is no option of operation "send_g". Did you mean "authorize"? Known: "input", "authorize", "internal", "rollback", "refusals", "intent", "timeoutMs", "isolation" and 1 more.',
    ],
    [
      'authorize that is no function',
      () => node.operation('send_h', { input, run: work, authorize: true }),
      '"authorize"',
    ],
    [
      'a misspelt option of rollback',
      () => node.operation('send_i', { input, run: work, rollback: { message: 'x' } }),
      '"rollback.message"',
    ],
    [
      'recoveryActions as text',
      () => node.operation('send_j', { input, run: work, rollback: { recoveryActions: 'retry' } }),
      '"rollback.recoveryActions"',
    ],
    [
      'intent as text',
      () => node.operation('send_k', { input, run: work, intent: 'no' }),
      '"intent"',
      'true or false',
    ],
    [
      'a time as text',
      () => node.operation('send_l', { input, run: work, timeoutMs: '5s' }),
      '"timeoutMs"',
      'the text "5s"',
    ],
    ['a time below zero', () => node.operation('send_m', { input, run: work, timeoutMs: -1 }), 'timeoutMs'],
    ['a query without run', () => node.query('list_a', { input }), 'query "list_a" needs the option "run"'],
    [
      'a query with the options of an operation',
      () => node.query('list_b', { input, run: work, timeoutMs: 5 }),
      '"timeoutMs" is no option of query "list_b"',
    ],
    [
      'a name twice',
      () => {
        node.operation('twice', { input, run: work })
        node.query('twice', { input, run: work })
      },
      '"twice" is declared already, as an operation',
    ],
  ])
})

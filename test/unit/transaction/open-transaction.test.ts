import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { errorCatalogue, LockstepError, type ErrorCode } from '../../../src/core/index.ts'
import { TransactionGuard } from '../../../src/postgres/transaction-guard.ts'
import { readUserStatement } from '../../../src/postgres/user-statement.ts'
import { toStoredEvents } from '../../../src/log/index.ts'
import { createNotice, failureCode } from '../../../src/transaction/settle/notice.ts'
import { hashInput, toUser } from '../../../src/operations/index.ts'

const withCode = (code: ErrorCode): Error => expect.objectContaining({ code })

describe('a statement that would end the transaction', () => {
  test.each([
    'commit',
    'COMMIT',
    '  commit;',
    '\n\t commit work',
    'commit and chain',
    "commit prepared 'x'",
    'end',
    'end transaction',
    'begin',
    'begin isolation level serializable',
    'start transaction',
    'START\n TRANSACTION read only',
    'abort',
    'rollback',
    'ROLLBACK WORK',
    'rollback and no chain',
    "rollback prepared 'x'",
    "prepare transaction 'x'",
    '/* a */ commit',
    '/* a */ /* b */\n commit',
    '-- a\ncommit',
    '-- a\n-- b\n  rollback',
    '/* a /* nested */ */ commit',
    '; commit',
    'start /* a */ transaction',
    'rollback to',
  ])('is refused: %j', (text) => {
    expect(() => readUserStatement(text)).toThrow(withCode('LS_TRANSACTION_CONTROL'))
  })

  test.each([
    '',
    'select 1',
    "select 'commit'",
    'select 1 -- commit',
    'savepoint a',
    'release savepoint a',
    'rollback to a',
    'ROLLBACK TO SAVEPOINT a',
    'rollback work to a',
    'rollback transaction to savepoint a',
    'set transaction isolation level serializable',
    'set constraints all immediate',
    'insert into commits values (1)',
    'select end_of_day from days',
    'beginning',
    'endorse',
    'aborted',
    'committed',
    'prepare transaction_plan as select 1',
    'start_transaction',
    "comment on table a is 'commit'",
    '/* commit */ select 1',
    '-- commit\nselect 1',
    '-- commit',
  ])('is not: %j', (text) => {
    expect(() => readUserStatement(text)).not.toThrow()
  })

  test.each<[string, string, string]>([
    ['savepoint a', 'set', 'a'],
    ['SAVEPOINT Aa;', 'set', 'aa'],
    ['savepoint "A ""b"', 'set', 'A "b'],
    ['savepoint/* x */ "é"', 'set', 'é'],
    ['/* a /* b */ */ -- c\n ; savepoint sp_1$', 'set', 'sp_1$'],
    ['savepoint savepoint', 'set', 'savepoint'],
    [`savepoint ${'é'.repeat(40)}`, 'set', 'é'.repeat(31)],
    ['release a', 'release', 'a'],
    ['release savepoint a', 'release', 'a'],
    ['release savepoint', 'release', 'savepoint'],
    ['release "savepoint"', 'release', 'savepoint'],
    ['rollback to a', 'undo', 'a'],
    ['ROLLBACK TO SAVEPOINT "a"', 'undo', 'a'],
    ['rollback work to savepoint a', 'undo', 'a'],
    ['rollback /* to b */ transaction to -- x\n a', 'undo', 'a'],
  ])('about a savepoint is read: %j', (text, verb, name) => {
    expect(readUserStatement(text)).toEqual({ verb, name })
  })

  test.each(['savepoint', 'select 1', 'savepoints', 'release_all()', 'savepoint 1', ''])(
    'about none moves none: %j',
    (text) => expect(readUserStatement(text)).toBeUndefined(),
  )

  test('about a savepoint whose name is written with escapes is refused', () => {
    expect(() => readUserStatement('savepoint U&"d\\0061ta"')).toThrow(withCode('LS_STATEMENT_UNSUPPORTED'))
  })

  test('is found at once behind any amount of blanks and comments', () => {
    const began = performance.now()
    for (const filler of [' ', '\n', '-- x\n', '/* x */', '/*', '--']) {
      try {
        readUserStatement(`${filler.repeat(50_000)}commit`)
      } catch {
        // The input may be refused or not: only the time counts here.
      }
    }
    expect(performance.now() - began).toBeLessThan(1_000)
  })
})

describe('the guard of a transaction', () => {
  test('refuses the outer handle while a nested one is open, and all of them after the end', () => {
    const outer = new TransactionGuard()
    const inner = outer.nest()
    expect(() => outer.assertUsable()).toThrow(withCode('LS_SAVEPOINT_OPEN'))
    expect(() => outer.nest()).toThrow(withCode('LS_SAVEPOINT_OPEN'))
    expect(() => inner.assertUsable()).not.toThrow()
    inner.end()
    expect(() => inner.assertUsable()).toThrow(withCode('LS_TRANSACTION_CLOSED'))
    expect(() => outer.assertUsable()).not.toThrow()
    const second = outer.nest()
    outer.end()
    for (const guard of [outer, second]) {
      expect(() => guard.assertUsable()).toThrow(withCode('LS_TRANSACTION_CLOSED'))
    }
  })
})

describe('the digest of an input', () => {
  /** Copies a value with the keys of every object in another order. */
  function reordered(value: unknown): unknown {
    if (Array.isArray(value)) return value.map(reordered)
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(
      Object.entries(value)
        .toReversed()
        .map(([key, inner]) => [key, reordered(inner)]),
    )
  }

  test('does not depend on the order of keys', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(hashInput('send', reordered(value))).toBe(hashInput('send', value))
      }),
    )
  })

  test('tells two inputs apart, and two operations', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (one, other) => {
        const same = isDeepStrictEqual(JSON.parse(JSON.stringify(one)), JSON.parse(JSON.stringify(other)))
        expect(hashInput('send', one) === hashInput('send', other)).toBe(same)
        expect(hashInput('send', one)).not.toBe(hashInput('delete', one))
      }),
    )
  })

  test('does not confuse nothing, null, the empty text, arrays and objects, or a name with an input', () => {
    const inputs = [undefined, null, '', '""', 0, false, [], {}, [null], { a: undefined, b: 1 }, { a: 1 }]
    expect(new Set(inputs.map((input) => hashInput('send', input))).size).toBe(inputs.length)
    expect(hashInput('send', 1)).not.toBe(hashInput('send1', undefined))
  })

  test('is never empty, which stands for an id that was closed unheard', () => {
    expect(hashInput('send', undefined)).toMatch(/^[\w-]{43}$/)
  })
})

test('committed events get the offsets up to their channel’s head, in the order they were emitted', () => {
  const emitted = fc.array(fc.constantFrom('a', 'b', 'c'), { maxLength: 30 })
  const heads = fc.record({ a: fc.nat(1_000), b: fc.nat(1_000), c: fc.nat(1_000) })
  fc.assert(
    fc.property(emitted, heads, (channels, before) => {
      const events = channels.map((channel, index) => ({ channel, type: 'x', data: String(index) }))
      const countOf = (channel: string): number => channels.filter((name) => name === channel).length
      const after = new Map(
        (['a', 'b', 'c'] as const)
          .filter((channel) => countOf(channel) > 0)
          .map((channel) => [channel, before[channel] + countOf(channel)] as const),
      )
      const at = new Date(0)
      const stored = toStoredEvents('id', events, { offsets: after, at })
      expect(stored.map(({ data }) => data)).toEqual(events.map(({ data }) => data))
      for (const channel of ['a', 'b', 'c'] as const) {
        const offsets = stored.filter((event) => event.channel === channel).map(({ offset }) => offset)
        expect(offsets).toEqual(offsets.map((_, index) => before[channel] + 1 + index))
        expect(offsets.at(-1)).toBe(after.get(channel))
      }
    }),
  )
})

describe('a notice', () => {
  const facts = {
    operationId: 'id',
    operationName: 'send_message',
    rollback: {},
    code: 'LS_SERIALIZATION_FAILURE',
    affectedLayers: ['database'],
  } as const

  test('has the fields of the wire and no more', () => {
    expect(
      createNotice({ ...facts, rollback: { userMessage: 'Not saved.', recoveryActions: ['wait'] } }),
    ).toEqual({
      transactionId: 'id',
      failedOperation: 'send_message',
      errorMessage: errorCatalogue.LS_SERIALIZATION_FAILURE.publicMessage,
      errorCode: 'LS_SERIALIZATION_FAILURE',
      affectedLayers: ['database'],
      recoveryActions: ['wait'],
      userMessage: 'Not saved.',
    })
  })

  test.each(Object.keys(errorCatalogue) as ErrorCode[])(
    'of %s has words and offers a retry only where it may help',
    (code) => {
      const { recoveryActions, userMessage } = createNotice({ ...facts, code })
      expect(recoveryActions).toEqual(errorCatalogue[code].retryable ? ['retry'] : [])
      expect(userMessage).not.toBe('')
    },
  )

  const circle = new Error('its own cause')
  circle.cause = circle

  test.each<[unknown, ErrorCode]>([
    [new Error('secret: host 10.0.0.1'), 'LS_OPERATION_FAILED'],
    ['a string', 'LS_OPERATION_FAILED'],
    [undefined, 'LS_OPERATION_FAILED'],
    [Object.assign(new Error('x'), { code: '23505' }), 'LS_CONSTRAINT_VIOLATED'],
    [Object.assign(new Error('x'), { code: 'E_OF_THE_APPLICATION' }), 'LS_OPERATION_FAILED'],
    [new LockstepError('LS_EVENT_INVALID'), 'LS_EVENT_INVALID'],
    [
      new Error('of an ORM', { cause: Object.assign(new Error('x'), { code: '40P01' }) }),
      'LS_SERIALIZATION_FAILURE',
    ],
    [new Error('wrapped', { cause: new LockstepError('LS_POOL_EXHAUSTED') }), 'LS_POOL_EXHAUSTED'],
    [Object.assign(new Error('another server'), { code: 'ECONNREFUSED' }), 'LS_OPERATION_FAILED'],
    [
      new TypeError('fetch failed', { cause: Object.assign(new Error('x'), { code: 'ECONNRESET' }) }),
      'LS_OPERATION_FAILED',
    ],
    [circle, 'LS_OPERATION_FAILED'],
  ])('of %o carries the code %s', (thrown, code) => {
    expect(failureCode(thrown)).toBe(code)
  })
})

test.each(['ada', { id: 'ada', tenant: 'acme' }])('a user given as %j is frozen', (given) => {
  const user = toUser(given)
  expect(user.id).toBe('ada')
  expect(Object.isFrozen(user)).toBe(true)
  expect(() => toUser('änn')).toThrow(withCode('LS_USER_ID_INVALID'))
})

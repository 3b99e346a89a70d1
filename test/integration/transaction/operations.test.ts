import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { newOperationId, type LockstepError } from '../../../src/index.ts'
import { createWorld, room, type World } from '../../support/world.ts'

let world: World

beforeAll(async () => {
  world = await createWorld()
})
afterAll(() => world.close())

const noted = (id: string) => world.rows('select text from notes where id = $1', [id])
const operation = async (id: string) =>
  (await world.rows('select * from lockstep.operations where id = $1', [id]))[0]

/** Reads the notices of a user from the log. */
const noticesOf = async (user: string) =>
  (await world.eventsOf(`user:${user}`)).filter(({ type }) => type === 'transaction_rolled_back')

describe('an operation that commits', () => {
  it('leaves row, event, outcome and result, and answers with positions', async () => {
    const id = newOperationId()
    const outcome = await world.addNote.call({ room: 'a', id: 'n1', text: 'hello' }, { id, user: 'ada' })
    expect(outcome).toEqual({
      outcome: 'committed',
      operationId: id,
      result: { id: 'n1' },
      positions: { 'room:a': { offset: 1, epoch: expect.stringMatching(/^[\w-]{8}$/) } },
    })
    expect(await noted('n1')).toHaveLength(1)
    expect(await world.eventsOf('room:a')).toMatchObject([
      { offset: '1', type: 'note.added', operation_id: id, data: { id: 'n1', text: 'hello' } },
    ])
    expect(await operation(id)).toMatchObject({ state: 'committed', user_id: 'ada', name: 'add_note' })
  })

  it('has one effect however often it is sent, at once or later, and the same reply', async () => {
    const call = (id: string) => () =>
      world.addNote.call({ room: 'twice', id: 'n2', text: 'once' }, { id, user: 'ada' })
    const again = call(newOperationId())
    const replies = await Promise.all([1, 2, 3, 4].map(again))
    replies.push(await again())
    expect(new Set(replies.map((reply) => JSON.stringify(reply))).size).toBe(1)
    expect(await world.eventsOf('room:twice')).toHaveLength(1)
  })

  it.each([undefined, null])('that returned %s answers a copy with the same', async (result) => {
    const id = newOperationId()
    const run = () => world.lockstep.transaction({ name: 'nothing', user: 'ada', id }, async () => result)
    expect(await run()).toBe(result)
    expect(await run()).toBe(result)
  })

  it('answers a late copy from what is stored, without waiting for its work', async () => {
    const id = newOperationId()
    await world.lockstep.transaction({ name: 'long', user: 'ada', id }, async () => 'first')
    const copy = world.lockstep.transaction({ name: 'long', user: 'ada', id }, async (tx) => {
      await tx.db.query('select pg_sleep(60)')
      return 'second'
    })
    expect(await copy).toBe('first')
  })

  it('refuses an id that its user uses again with other input', async () => {
    const id = newOperationId()
    const input = { room: 'twice', id: `n-${id}`, text: 'x' }
    await world.addNote.call(input, { id, user: 'ada' })
    await expect(world.addNote.call({ ...input, text: 'y' }, { id, user: 'ada' })).rejects.toMatchObject({
      code: 'LS_OPERATION_ID_REUSED',
    })
  })

  it('runs hooks after the end, and a hook that fails changes nothing', async () => {
    const ran: string[] = []
    await world.lockstep.transaction({ name: 'hooks', user: 'ada' }, async (tx) => {
      tx.afterCommit(() => void ran.push('committed'))
      tx.afterCommit(() => Promise.reject(new Error('hook')))
      tx.afterRollback(() => void ran.push('rolled back'))
    })
    expect(ran).toEqual(['committed'])
    expect(world.logger.lines.some(({ message }) => message.includes('hook'))).toBe(true)
  })
})

describe('an operation that fails', () => {
  it('leaves no row, no event and no hole, and its user has one notice without the raw error', async () => {
    const id = newOperationId()
    const input = { room: 'fails', id: 'f1', text: 'x', fail: true }
    const outcome = await world.addNote.call(input, { id, user: 'grace' })
    const notice = {
      transactionId: id,
      failedOperation: 'add_note',
      errorMessage: 'The operation failed.',
      errorCode: 'LS_OPERATION_FAILED',
      affectedLayers: ['database', 'websocket'],
      recoveryActions: ['retry'],
      userMessage: 'Your note was not saved.',
    }
    expect(outcome).toEqual({ outcome: 'rolled_back', operationId: id, notice })
    expect(await noted('f1')).toEqual([])
    expect(await world.eventsOf('room:fails')).toEqual([])
    expect(await noticesOf('grace')).toMatchObject([{ operation_id: id, data: notice }])
    expect(await operation(id)).toMatchObject({ state: 'rolled_back', notice })
    // The raw error is in the log, under the operation's id, and nowhere else.
    const logged = world.logger.lines.find(({ fields }) => fields['operationId'] === id)
    expect(logged?.fields['error']).toMatchObject({ message: expect.stringContaining('secret detail') })
    expect(JSON.stringify(outcome)).not.toContain('secret')

    // A copy sent later gets the same answer, and no second notice.
    expect(await world.addNote.call(input, { id, user: 'grace' })).toEqual(outcome)
    expect(await noticesOf('grace')).toHaveLength(1)

    await world.addNote.call({ room: 'fails', id: 'f2', text: 'x' }, { user: 'grace' })
    expect((await world.eventsOf('room:fails')).map(({ offset }) => offset)).toEqual(['1'])
  })

  it.each<[string, string, (tx: { query: (text: string) => Promise<unknown> }) => Promise<unknown>]>([
    ['a constraint', 'LS_CONSTRAINT_VIOLATED', (db) => db.query(`insert into notes values ('c', null)`)],
    [
      'a constraint at COMMIT',
      'LS_CONSTRAINT_VIOLATED',
      async (db) => {
        await db.query('create temp table d (id int unique deferrable initially deferred) on commit drop')
        await db.query('insert into d values (1), (1)')
      },
    ],
    [
      'a statement timeout',
      'LS_STATEMENT_TIMEOUT',
      async (db) => {
        await db.query(`set local statement_timeout = '20ms'`)
        await db.query('select pg_sleep(10)')
      },
    ],
    ['a swallowed error', 'LS_DATA_INVALID', (db) => db.query('select 1/0').catch(() => {})],
    [
      'its own terminated backend',
      'LS_CONNECTION_LOST',
      (db) => db.query('select pg_terminate_backend(pg_backend_pid())'),
    ],
    ['a value that is no JSON', 'LS_OPERATION_FAILED', () => Promise.resolve(10n)],
    ['bad data', 'LS_DATA_INVALID', (db) => db.query(`select 'x'::int`)],
  ])('tells its user of %s', async (cause, code, work) => {
    const id = newOperationId()
    const user = `user-${code}-${cause.length}`
    await expect(
      world.lockstep.transaction({ name: 'breaks', user, id }, (tx) => work(tx.db)),
    ).rejects.toBeInstanceOf(Error)
    expect(await operation(id)).toMatchObject({ state: 'rolled_back', notice: { errorCode: code } })
    expect(await noticesOf(user)).toMatchObject([{ data: { transactionId: id, errorCode: code } }])
  })

  it('refuses a late statement instead of letting it commit on its own', async () => {
    let late: Promise<unknown> = Promise.resolve()
    let release = (): void => {}
    const gate = new Promise<void>((resolve) => (release = resolve))
    await expect(
      world.lockstep.transaction({ name: 'late', user: 'ada' }, async (tx) => {
        late = gate.then(() => tx.db.query(`insert into notes values ('late', 'x')`))
        late.catch(() => {})
        throw new Error('early')
      }),
    ).rejects.toThrow('early')
    release()
    await expect(late).rejects.toMatchObject({ code: 'LS_TRANSACTION_CLOSED' })
    expect(await noted('late')).toEqual([])
  })

  it('is rolled back by its signal, also in the middle of a statement, and gives the lock free', async () => {
    const cancel = new AbortController()
    const id = newOperationId()
    const running = world.lockstep.transaction(
      { name: 'cancelled', user: 'cancel', id, signal: cancel.signal },
      async (tx) => {
        await tx.db.query(`insert into notes values ('cancelled', 'x')`)
        queueMicrotask(() => cancel.abort())
        await tx.db.query('select pg_sleep(60)')
      },
    )
    await expect(running).rejects.toMatchObject({ code: 'LS_OPERATION_CANCELLED' })
    expect(await noted('cancelled')).toEqual([])
    expect(await noticesOf('cancel')).toMatchObject([{ data: { errorCode: 'LS_OPERATION_CANCELLED' } }])
    // The key is free: no transaction is left that holds it.
    await world.addNote.call({ room: 'a', id: 'cancelled', text: 'now' }, { user: 'ada' })
  })

  it('leaves nothing behind on a signal that outlives it', async () => {
    const { signal } = new AbortController()
    // Counts listeners and dependent signals alike: Node keeps both in maps of the signal.
    const kept = () =>
      Object.getOwnPropertySymbols(signal).map((key) => Object(Reflect.get(signal, key)).size as unknown)
    const run = () =>
      world.lockstep.transaction({ name: 'signals', user: 'ada', signal }, () => Promise.resolve())
    await run()
    const before = kept()
    for (let n = 0; n < 10; n++) await run()
    expect(kept()).toEqual(before)
  })

  it('says so when the application itself has taken the whole pool, and commits nothing', async () => {
    const small = await createWorld({ poolSize: 1, acquireTimeoutMs: 200 })
    try {
      const taken = await small.pool.connect()
      await expect(
        small.lockstep.transaction({ name: 'waits', user: 'bob' }, () => Promise.resolve()),
      ).rejects.toMatchObject({ code: 'LS_POOL_EXHAUSTED' })
      expect(await small.eventsOf('user:bob')).toMatchObject([{ data: { errorCode: 'LS_POOL_EXHAUSTED' } }])
      taken.release()
    } finally {
      await small.close()
    }
  })
})

describe('conflicts', () => {
  it('retries a serialization failure with the same id, and commits once', async () => {
    await world.rows(`insert into notes values ('counter', '0')`)
    let attempts = 0
    let release = (): void => {}
    const allHaveRead = new Promise<void>((resolve) => (release = resolve))
    const add = () =>
      world.lockstep.transaction({ name: 'add', user: 'ada' }, async (tx) => {
        await tx.db.query('set transaction isolation level repeatable read')
        const { rows } = await tx.db.query<{ text: string }>(`select text from notes where id = 'counter'`)
        attempts++
        // The first attempts all read the same value, so that only one of them can write.
        if (attempts === 3) release()
        if (attempts <= 3) await allHaveRead
        await tx.db.query(`update notes set text = $1 where id = 'counter'`, [
          String(Number(rows[0]?.text) + 1),
        ])
      })
    await Promise.all([add(), add(), add()])
    expect(await noted('counter')).toEqual([{ text: '3' }])
    expect(attempts).toBeGreaterThan(4)
  })

  it('gives up after a bounded number of attempts, and reports it', async () => {
    let attempts = 0
    const id = newOperationId()
    await expect(
      world.lockstep.transaction({ name: 'never', user: 'conflict', id }, async (tx) => {
        attempts++
        await tx.db.query(`do $$ begin raise exception 'x' using errcode = '40001'; end $$`)
      }),
    ).rejects.toMatchObject({ code: '40001' })
    expect(attempts).toBe(5)
    expect(await noticesOf('conflict')).toMatchObject([{ data: { errorCode: 'LS_SERIALIZATION_FAILURE' } }])
  })

  it('never deadlocks on two channels that are emitted to in opposite order, 1,000 times at once', async () => {
    // Open as many as a node lets one user have, however long the last of them waits for its turn.
    const crowded = await createWorld({ admission: { maxWaitMs: 50_000 } })
    const emit = (first: string, second: string) =>
      crowded.lockstep.transaction({ name: 'crossing', user: 'ada' }, async (tx) => {
        tx.emit(room({ id: first }), 'counted', { n: 1 })
        tx.emit(room({ id: second }), 'counted', { n: 2 })
      })
    const before = await crowded.rows<{ deadlocks: string }>(
      'select deadlocks from pg_stat_database where datname = current_database()',
    )
    const all = await Promise.all(
      Array.from({ length: 1_000 }, (_, i) => (i % 2 === 0 ? emit('x', 'y') : emit('y', 'x'))).map((run) =>
        run.then(
          () => 'committed',
          (error: LockstepError) => error.code,
        ),
      ),
    )
    expect(new Set(all)).toEqual(new Set(['committed']))
    const after = await crowded.rows<{ deadlocks: string }>(
      'select deadlocks from pg_stat_database where datname = current_database()',
    )
    expect(after).toEqual(before)
    for (const channel of ['room:x', 'room:y']) {
      const offsets = (await crowded.eventsOf(channel)).map(({ offset }) => Number(offset))
      expect(offsets).toEqual(Array.from({ length: 1_000 }, (_, i) => i + 1))
    }
    await crowded.close()
  }, 60_000)
})

describe('a nested transaction', () => {
  it('joins by a savepoint: its rows and events go when it fails, the rest stays', async () => {
    await world.lockstep.transaction({ name: 'outer', user: 'ada' }, async (tx) => {
      await tx.db.query(`insert into notes values ('outer', 'x')`)
      tx.emit(room({ id: 'nest' }), 'counted', { n: 1 })
      await expect(
        tx.transaction(async (inner) => {
          await inner.db.query(`insert into notes values ('inner', 'x')`)
          inner.emit(room({ id: 'nest' }), 'counted', { n: 2 })
          await inner.db.query('select 1/0')
        }),
      ).rejects.toThrow('division by zero')
      await tx.transaction(async (inner) => {
        inner.emit(room({ id: 'nest' }), 'counted', { n: 3 })
        await world.addNote.within(inner, { room: 'nest', id: 'deep', text: 'x' })
      })
    })
    expect(await noted('outer')).toHaveLength(1)
    expect(await noted('inner')).toEqual([])
    expect(await noted('deep')).toHaveLength(1)
    expect((await world.eventsOf('room:nest')).map(({ data }) => data)).toEqual([
      { n: 1 },
      { n: 3 },
      { id: 'deep', text: 'x' },
    ])
  })

  it('that swallowed the error of a statement is undone, and takes the outer one no further', async () => {
    await world.lockstep.transaction({ name: 'outer', user: 'ada' }, async (tx) => {
      await tx.db.query(`insert into notes values ('swallows', 'x')`)
      await expect(
        tx.transaction(async (inner) => {
          await inner.db.query(`insert into notes values ('swallowed', 'x')`)
          await inner.db.query('select 1/0').catch(() => {})
        }),
      ).rejects.toMatchObject({ code: '25P02' })
      await tx.db.query(`update notes set text = 'y' where id = 'swallows'`)
    })
    expect(await noted('swallows')).toEqual([{ text: 'y' }])
    expect(await noted('swallowed')).toEqual([])
  })

  it('refuses the outer handle while the inner one is open', async () => {
    await world.lockstep.transaction({ name: 'outer', user: 'ada' }, (tx) =>
      tx.transaction(async () => {
        await expect(tx.db.query('select 1')).rejects.toMatchObject({ code: 'LS_SAVEPOINT_OPEN' })
        await expect(tx.transaction(() => Promise.resolve())).rejects.toMatchObject({
          code: 'LS_SAVEPOINT_OPEN',
        })
      }),
    )
  })
})

describe('bad input', () => {
  it.each([
    ['a wrong type', { room: 'a', id: 7, text: 'x' }, 'LS_INPUT_INVALID'],
    ['nothing', undefined, 'LS_INPUT_INVALID'],
  ])('refuses %s before anything is written', async (_, input, code) => {
    await expect(world.addNote.call(input as never, { user: 'ada' })).rejects.toMatchObject({ code })
  })

  it('rolls back a result that is too large to be sent', async () => {
    const id = newOperationId()
    await expect(
      world.lockstep.transaction({ name: 'large', user: 'large', id }, async () => 'x'.repeat(300_000)),
    ).rejects.toMatchObject({ code: 'LS_RESULT_TOO_LARGE' })
    expect(await operation(id)).toMatchObject({ state: 'rolled_back' })
  })

  it.each(['', 'not-a-uuid', '0'.repeat(36), 'F47AC10B-58CC-4372-A567-0E02B2C3D479'])(
    'refuses the id %j',
    async (id) => {
      await expect(
        world.addNote.call({ room: 'a', id: 'x', text: 'x' }, { id, user: 'ada' }),
      ).rejects.toMatchObject({ code: 'LS_OPERATION_ID_INVALID' })
    },
  )

  it.each(['', 'not-a-uuid', `'; insert into notes values ('injected', 'x'); --`])(
    'refuses the id %j of a transaction, and nothing of it reaches the database',
    async (id) => {
      let ran = false
      const refused = world.lockstep.transaction({ name: 'bad', user: 'ada', id }, async (tx) => {
        ran = true
        await tx.db.query('select 1; select 2')
      })
      await expect(refused).rejects.toMatchObject({ code: 'LS_OPERATION_ID_INVALID' })
      expect(ran).toBe(false)
      expect(await noted('injected')).toEqual([])
    },
  )

  it('refuses a name that cannot be stored, and takes nobody else along', async () => {
    const others = Array.from({ length: 5 }, () =>
      world.lockstep.transaction({ name: 'good', user: 'ada' }, () => Promise.resolve('saved')),
    )
    const refused = world.lockstep.transaction({ name: 'bad\0', user: 'ada' }, () => Promise.resolve())
    await expect(refused).rejects.toMatchObject({ code: 'LS_CONFIG_INVALID' })
    expect(await Promise.all(others)).toEqual(others.map(() => 'saved'))
  })

  it('refuses an event that its channel does not declare, or that does not match', async () => {
    await expect(
      world.lockstep.transaction({ name: 'bad', user: 'ada' }, async (tx) => {
        tx.emit(room({ id: 'a' }), 'unknown' as 'counted', { n: 1 })
      }),
    ).rejects.toMatchObject({ code: 'LS_EVENT_UNKNOWN' })
    await expect(
      world.lockstep.transaction({ name: 'bad', user: 'ada' }, async (tx) => {
        tx.emit(room({ id: 'a' }), 'counted', { n: 'x' as never })
      }),
    ).rejects.toMatchObject({ code: 'LS_EVENT_INVALID' })
  })
})

// Parts of an operation beside its events, on the example of a small second part: rows of its own, events and a fence.
import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, test } from 'vitest'
import { newOperationId } from '../../../src/index.ts'
import { MessageReader, tagOf } from '../../faults/postgres-messages.ts'
import { createFaultProxy, type FaultProxy } from '../../faults/proxy.ts'
import {
  addReceipt,
  createReceiptsPart,
  leavePromise,
  receiptType,
  requireGate,
  withdrawnType,
} from '../../support/receipts-part.ts'
import { centrifuge, connected, serve } from '../../support/sockets.ts'
import { createReceiptsWorld, type ReceiptsWorld } from '../../support/receipts-world.ts'
import { createWorld, room } from '../../support/world.ts'

let world: ReceiptsWorld
let { database, part, at, receiptsOf, typesOf } = {} as ReceiptsWorld
beforeEach(async () => {
  world = await createReceiptsWorld()
  ;({ database, part, at, receiptsOf, typesOf } = world)
})
afterEach(() => world.close())

describe('a part', () => {
  it('commits its rows and events with the operation, and gets the answers to its rows', async () => {
    const id = newOperationId()
    await at.lockstep.transaction({ name: 'receipts', user: 'ada', id }, async (tx) => {
      addReceipt(tx, part, 'first', 'room:a')
      tx.emit(room({ id: 'a' }), 'counted', { n: 1 })
      addReceipt(tx, part, 'second', 'room:b')
    })
    expect(await receiptsOf(id)).toEqual([{ label: 'first' }, { label: 'second' }])
    expect(await typesOf('room:a')).toEqual(['counted', receiptType])
    expect(await typesOf('room:b')).toEqual([receiptType])
    expect(part.told).toEqual([{ operation: id, places: [0, 1] }])
  })

  it('leaves nothing of an operation that is rolled back', async () => {
    const id = newOperationId()
    const failed = at.lockstep.transaction({ name: 'receipts', user: 'ada', id }, async (tx) => {
      addReceipt(tx, part, 'never', 'room:a')
      await tx.db.query('select 1 / 0')
    })
    await expect(failed).rejects.toThrow('division by zero')
    expect(await receiptsOf(id)).toEqual([])
    expect(await typesOf('room:a')).toEqual([])
    expect(part.told).toEqual([])
  })

  it('begins anew with each attempt', async () => {
    const id = newOperationId()
    let attempts = 0
    await at.lockstep.transaction({ name: 'receipts', user: 'ada', id }, async (tx) => {
      attempts += 1
      addReceipt(tx, part, `attempt ${attempts}`, 'room:a')
      if (attempts < 3)
        await tx.db.query(`do $$ begin raise exception 'again' using errcode = '40001'; end $$`)
    })
    expect(await receiptsOf(id)).toEqual([{ label: 'attempt 3' }])
    expect(await typesOf('room:a')).toEqual([receiptType])
  })

  it('is cut back by savepoints, also by those that are sent as SQL', async () => {
    const id = newOperationId()
    await at.lockstep.transaction({ name: 'receipts', user: 'ada', id }, async (tx) => {
      addReceipt(tx, part, 'kept', 'room:a')
      const inner = tx.transaction(async (nested) => {
        addReceipt(nested, part, 'in a nested transaction that fails', 'room:a')
        throw new Error('not this')
      })
      await expect(inner).rejects.toThrow('not this')
      await tx.db.query('savepoint by_hand')
      addReceipt(tx, part, 'behind a savepoint that is rolled back', 'room:b')
      await tx.db.query('rollback to by_hand')
      addReceipt(tx, part, 'kept as well', 'room:b')
    })
    expect(await receiptsOf(id)).toEqual([{ label: 'kept' }, { label: 'kept as well' }])
    expect([await typesOf('room:a'), await typesOf('room:b')]).toEqual([[receiptType], [receiptType]])
  })

  it('is closed with the operation', async () => {
    let late: (() => void) | undefined
    await at.lockstep.transaction({ name: 'receipts', user: 'ada' }, async (tx) => {
      late = () => addReceipt(tx, part, 'late', 'room:a')
    })
    expect(late).toThrow(expect.objectContaining({ code: 'LS_TRANSACTION_CLOSED' }))
  })

  it('counts once for an operation that is sent twice', async () => {
    const id = newOperationId()
    const send = () =>
      at.lockstep.transaction({ name: 'receipts', user: 'ada', id }, async (tx) => {
        addReceipt(tx, part, 'once', 'room:a')
      })
    await Promise.all([send(), send()])
    await send()
    expect(await receiptsOf(id)).toEqual([{ label: 'once' }])
    expect(await typesOf('room:a')).toEqual([receiptType])
    expect(part.told).toHaveLength(1)
  })

  it('keeps an operation from committing by its fence, which waits for whoever is closing it', async () => {
    await at.direct.query(`insert into gates values ('door', true)`)
    const id = newOperationId()
    const closer = await at.direct.connect()
    await closer.query(`begin; update gates set is_open = false where name = 'door'`)
    const call = at.lockstep.transaction({ name: 'receipts', user: 'ada', id }, async (tx) => {
      requireGate(tx, part, 'door')
      addReceipt(tx, part, 'too late', 'room:a')
      tx.emit(room({ id: 'a' }), 'counted', { n: 1 })
    })
    const refused = call.catch((error: unknown) => error)
    await expect
      .poll(() =>
        at.rows(`select from pg_stat_activity where wait_event_type = 'Lock' and query like '%gates%'`),
      )
      .toHaveLength(1)
    await closer.query('commit')
    closer.release()
    expect(await refused).toMatchObject({ message: 'division by zero' })
    expect(await receiptsOf(id)).toEqual([])
    expect(await typesOf('room:a')).toEqual([])
  })

  it('commits nothing where a value of its rows cannot be written', async () => {
    const unwritable = createReceiptsPart('unwritable')
    const value = {
      toPostgres(): never {
        throw new Error('no text')
      },
    }
    const other = await createWorld({
      databaseUrl: database.url,
      bus: false,
      parts: [part, { ...unwritable, rows: () => [{ text: 'select $1::text', values: [value] }] }],
    })
    const id = newOperationId()
    const call = other.lockstep.transaction({ name: 'receipts', user: 'ada', id }, async (tx) => {
      addReceipt(tx, part, 'never', 'room:a')
    })
    await expect(call).rejects.toThrow(expect.objectContaining({ code: 'LS_TRANSACTION_ABORTED' }))
    expect(await receiptsOf(id)).toEqual([])
    expect(await typesOf('room:a')).toEqual([])
    await other.close()
  })
})

it('a question for unheard ids is answered for the others while the head is held that one of them would append to', async () => {
  const served = await serve(at)
  const client = await connected(centrifuge(served.url, 'ada'))
  const [known, unheard] = [newOperationId(), newOperationId()]
  await at.lockstep.transaction({ name: 'receipts', user: 'ada', id: known }, async (tx) => {
    addReceipt(tx, part, 'known', 'room:h')
  })
  // The trace of a node whose intent is gone, as a crash of the server may leave it.
  await at.direct.query(
    `insert into lockstep.rollback_events values ($1, 'ada', 'receipts', 'x', $2, 'room:h', '${withdrawnType}', '{}')`,
    [unheard, randomUUID()],
  )
  const holder = await at.direct.connect()
  await holder.query(`begin; select from lockstep.channels where channel = 'room:h' for update`)
  const ask = async (): Promise<unknown> =>
    (await client.rpc('lockstep.outcomes', { ids: [known, unheard] })).data
  expect(await ask()).toMatchObject({ outcomes: [{ outcome: 'committed' }, { outcome: 'pending' }] })
  await holder.query('rollback')
  holder.release()
  expect(await ask()).toMatchObject({ outcomes: [{ outcome: 'committed' }, { outcome: 'never_received' }] })
  expect(await typesOf('room:h')).toEqual([receiptType, withdrawnType])
  client.disconnect()
  await served.close()
})

it('fences of two operations that name the same gates in opposite order never wait for each other in a circle', async () => {
  await at.direct.query(`insert into gates values ('a', true), ('b', true)`)
  const exclusive = createReceiptsPart('exclusive', 'for update')
  const other = await createWorld({ databaseUrl: database.url, bus: false, poolSize: 8, parts: [exclusive] })
  const call = (gates: readonly string[]) =>
    other.lockstep.transaction({ name: 'receipts', user: 'ada' }, async (tx) => {
      for (const gate of gates) requireGate(tx, exclusive, gate)
    })
  await Promise.all(Array.from({ length: 100 }, (_, n) => call(n % 2 === 0 ? ['a', 'b'] : ['b', 'a'])))
  const [row] = await at.rows<{ deadlocks: string }>(
    'select deadlocks from pg_stat_database where datname = current_database()',
  )
  expect(row?.deadlocks).toBe('0')
  await other.close()
})

test('flushes and settlements of operations with up to three parts, eight at a time, never deadlock', async () => {
  const parts = ['one', 'two', 'three'].map((name) => createReceiptsPart(name))
  const other = await createWorld({ databaseUrl: database.url, bus: false, poolSize: 8, parts })
  await at.direct.query(`insert into gates values ('a', true), ('b', true)`)
  const channel = fc.constantFrom('room:a', 'room:b', 'room:c', 'room:d')
  const operation = fc.record({
    receipts: fc.array(fc.tuple(fc.nat(2), channel), { maxLength: 6 }),
    emits: fc.array(channel, { maxLength: 3 }),
    gates: fc.array(fc.constantFrom('a', 'b'), { maxLength: 2 }),
    promises: fc.uniqueArray(channel, { maxLength: 3 }),
    fails: fc.boolean(),
  })
  const deadlocks = async () =>
    Number(
      (
        await at.rows<{ deadlocks: string }>(
          'select deadlocks from pg_stat_database where datname = current_database()',
        )
      )[0]?.deadlocks,
    )
  const counts = { committed: 0, receipts: 0, withdrawn: 0 }
  await fc.assert(
    fc.asyncProperty(fc.array(operation, { minLength: 8, maxLength: 8 }), async (plans) => {
      const ends = await Promise.allSettled(
        plans.map(async (plan) => {
          const id = newOperationId()
          await other.lockstep.transaction({ name: 'receipts', user: 'ada', id }, async (tx) => {
            for (const made of parts) for (const to of plan.promises) await leavePromise(tx, made, to)
            for (const [index, to] of plan.receipts) {
              const made = parts[index]
              if (made !== undefined) addReceipt(tx, made, 'x', to)
            }
            for (const to of plan.emits) tx.emit(room({ id: to.slice('room:'.length) }), 'counted', { n: 1 })
            const [first] = parts
            if (first !== undefined) for (const gate of plan.gates) requireGate(tx, first, gate)
            await tx.db.query('select 1')
            if (plan.fails) throw new Error('as planned')
          })
        }),
      )
      for (const [index, plan] of plans.entries()) {
        expect(ends[index]?.status).toBe(plan.fails ? 'rejected' : 'fulfilled')
        if (plan.fails) counts.withdrawn += plan.promises.length
        else {
          counts.committed += 1
          counts.receipts += plan.receipts.length
        }
      }
    }),
    { numRuns: 60 },
  )
  expect(counts.committed).toBeGreaterThan(100)
  const count = async (text: string) => Number((await at.rows<{ n: string }>(text))[0]?.n)
  expect(await count('select count(*) as n from receipts')).toBe(counts.receipts)
  expect(await count(`select count(*) as n from lockstep.events where type = '${receiptType}'`)).toBe(
    counts.receipts,
  )
  // Each of the three parts has left the promises of the plan.
  const withdrawn = `select count(*) as n from lockstep.events where type = '${withdrawnType}'`
  expect(await count(withdrawn)).toBe(3 * counts.withdrawn)
  expect(await deadlocks()).toBe(0)
  await other.close()
})

describe('where the answer to COMMIT is lost', () => {
  let proxy: FaultProxy
  let isBroken = false
  beforeEach(async () => {
    isBroken = false
    const port = Number(new URL(database.url).port)
    proxy = await createFaultProxy({
      target: () => port,
      intercept(link) {
        const reader = new MessageReader('server')
        return {
          up: (bytes) => link.pass('up', bytes),
          down(bytes) {
            const isCommit = reader
              .read(bytes)
              .some(({ type, body }) => type === 'C' && tagOf(body) === 'COMMIT')
            if (!isCommit || !isBroken) return link.pass('down', bytes)
            isBroken = false
            link.reset('client')
          },
        }
      },
    })
  })
  afterEach(() => proxy.close())

  it('a part has its rows and events once, and they are shown', async () => {
    const other = await createWorld({
      databaseUrl: database.url,
      bus: false,
      parts: [part],
      through(address) {
        const url = new URL(address)
        url.port = String(proxy.port)
        return url.href
      },
    })
    const id = newOperationId()
    isBroken = true
    await other.lockstep.transaction({ name: 'receipts', user: 'ada', id }, async (tx) => {
      addReceipt(tx, part, 'found out', 'room:a')
    })
    expect(isBroken).toBe(false)
    expect(await receiptsOf(id)).toEqual([{ label: 'found out' }])
    expect(await typesOf('room:a')).toEqual([receiptType])
    await other.close()
  })
})

// Events that a part has left for a rollback, and the settlement that appends them: in each order in which a node that leaves
// something and a settlement may meet.
import { randomUUID } from 'node:crypto'
import { PGlite } from '@electric-sql/pglite'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { systemClock, type Statement } from '../../../src/core/index.ts'
import { fromPglite, newOperationId, silentLogger } from '../../../src/index.ts'
import { createLockstepWith } from '../../../src/lockstep.ts'
import {
  forgetRollbackEvents,
  fromPool,
  trimOperations,
  trimRollbackEvents,
  writeRollbackEvents,
  type OperationKey,
} from '../../../src/postgres/index.ts'
import { CountingAppender } from '../../../src/log/index.ts'
import { RollbackEventWriter, Settler } from '../../../src/transaction/index.ts'
import { createReceiptsWorld, type ReceiptsWorld } from '../../support/receipts-world.ts'
import { createReceiptsPart, leavePromise, withdrawnType } from '../../support/receipts-part.ts'
import { noticeFor } from '../../support/settlements.ts'
import { centrifuge, connected, listen, serve } from '../../support/sockets.ts'
import { secret } from '../../support/world.ts'

const schema = '"lockstep"'
const sleeping = new AbortController().signal

let world: ReceiptsWorld
let { part, at, typesOf } = {} as ReceiptsWorld
beforeEach(async () => {
  world = await createReceiptsWorld()
  ;({ part, at, typesOf } = world)
})
afterEach(() => world.close())

/** Operation of a node that holds no lease, with its intent. */
async function openOperation(userId = 'ada', node: string = randomUUID(), slot = 0): Promise<OperationKey> {
  const key = { id: newOperationId(), name: 'receipts', userId, node, inputHash: 'x' }
  await at.direct.query(
    `insert into lockstep.nodes (node, lease_until) values ($1, now() + '1 hour')
    on conflict do nothing`,
    [node],
  )
  await at.direct.query(
    `insert into lockstep.intents (node, slot, batch, ids, names, user_ids, input_hashes)
     values ($1, $2, 1, array[$3::uuid], array['receipts'], array[$4], array['x'])`,
    [node, slot, key.id, userId],
  )
  return key
}

const eventOf = (operation: OperationKey, channel = 'room:a', key = 'k') => ({
  operation,
  part: 'receipts',
  key,
  channel,
  type: withdrawnType,
  data: '{}',
})

/** Connections as those of another node. */
function otherNode() {
  const node = fromPool(at.pool)
  const facts = { own: node.own, schema, clock: systemClock }
  const log = new CountingAppender(node.own, schema)
  const settler = new Settler({ ...facts, log, logger: silentLogger, deliver: () => {} })
  return {
    own: node.own,
    settler,
    writer: new RollbackEventWriter({ ...facts, inMemory: false }),
    close: () => node.close(),
  }
}

/** Sends a statement in a transaction that stays open until `end`. */
async function openTransaction({ text, values = [] }: Statement) {
  const client = await at.direct.connect()
  await client.query('begin')
  const { rows } = await client.query(text, [...values])
  return {
    rows: rows as { readonly answer: string }[],
    async end(how: 'commit' | 'rollback') {
      await client.query(how)
      client.release()
    },
  }
}

const rowsLeft = async () => (await at.rows('select from lockstep.rollback_events')).length

describe('what a part has left outside of the transaction', () => {
  it('is withdrawn with the notice of a failed operation, and shown at once', async () => {
    const served = await serve(at)
    const client = await connected(centrifuge(served.url, 'ada'))
    const { inbox } = await listen(client, 'room:a')
    const failed = at.lockstep.transaction({ name: 'receipts', user: 'ada' }, async (tx) => {
      await leavePromise(tx, part, 'room:a')
      await leavePromise(tx, part, 'room:a')
      throw new Error('not this')
    })
    await expect(failed).rejects.toThrow('not this')
    expect(await typesOf('room:a')).toEqual([withdrawnType])
    expect(await typesOf('user:ada')).toHaveLength(1)
    await inbox.until((items) => items.length === 1)
    expect(await rowsLeft()).toBe(0)
    client.disconnect()
    await served.close()
  })

  it('stays where the operation commits, and leaves no row behind', async () => {
    await at.lockstep.transaction({ name: 'receipts', user: 'ada' }, (tx) => leavePromise(tx, part, 'room:a'))
    expect(await typesOf('room:a')).toEqual([])
    expect(await rowsLeft()).toBe(0)
  })

  it('is withdrawn in every mode, also where nobody is notified of the rollback', async () => {
    await at.lockstep.rollout.set('receipts', 'off')
    const failed = at.lockstep.transaction({ name: 'receipts', user: 'ada' }, async (tx) => {
      await leavePromise(tx, part, 'room:a')
      throw new Error('not this')
    })
    await expect(failed).rejects.toThrow('not this')
    await expect.poll(() => typesOf('room:a')).toEqual([withdrawnType])
    expect(await typesOf('user:ada')).toEqual([])
  })

  it('is kept over the attempts at an operation, of which a later one may leave nothing', async () => {
    let attempts = 0
    await at.lockstep.transaction({ name: 'receipts', user: 'ada' }, async (tx) => {
      attempts += 1
      if (attempts > 1) return
      await leavePromise(tx, part, 'room:a')
      await tx.db.query(`do $$ begin raise exception 'again' using errcode = '40001'; end $$`)
    })
    expect(attempts).toBe(2)
    expect([await typesOf('room:a'), await rowsLeft()]).toEqual([[], 0])
  })

  it('is refused to an operation without an intent, and after its code has ended', async () => {
    const call = at.lockstep.transaction({ name: 'receipts', user: 'ada', intent: false }, (tx) =>
      leavePromise(tx, part, 'room:a'),
    )
    await expect(call).rejects.toMatchObject({ code: 'LS_CONFIG_INVALID' })
    let late: (() => Promise<void>) | undefined
    await at.lockstep.transaction({ name: 'receipts', user: 'ada' }, async (tx) => {
      late = () => leavePromise(tx, part, 'room:a')
    })
    await expect(async () => late?.()).rejects.toMatchObject({ code: 'LS_TRANSACTION_CLOSED' })
    expect(await rowsLeft()).toBe(0)
  })

  it('has reached the disk before it is shown: a crash of the server leaves it to be withdrawn', async () => {
    const other = otherNode()
    const key = await openOperation()
    const [before] = await at.rows<{ lsn: string }>('select pg_current_wal_insert_lsn()::text as lsn')
    await other.writer.write(eventOf(key), sleeping)
    const after = await at.rows(`select pg_current_wal_flush_lsn() > '${before?.lsn}' as "isFlushed"`)
    expect(after).toEqual([{ isFlushed: true }])
    await other.close()
  })

  it('is withdrawn where the node dies before anything else has happened', async () => {
    const other = otherNode()
    const key = await openOperation()
    await other.writer.write(eventOf(key), sleeping)
    await at.direct.query('delete from lockstep.nodes where node = $1', [key.node])
    await expect.poll(() => typesOf('room:a')).toEqual([withdrawnType])
    expect(await typesOf('user:ada')).toHaveLength(1)
    await other.close()
  })
})

describe('a node that leaves something while another settles', () => {
  it('has left it before: the settlement waits for its transaction, and withdraws it', async () => {
    const other = otherNode()
    const key = await openOperation()
    const leaving = await openTransaction(writeRollbackEvents(schema, [eventOf(key)]))
    expect(leaving.rows).toEqual([{ answer: 'written' }])
    const settled = other.settler.settle(key, noticeFor(key))
    await expect
      .poll(() => at.rows(`select from pg_locks where locktype = 'advisory' and not granted`))
      .not.toEqual([])
    await leaving.end('commit')
    expect(await settled).toMatchObject({ state: 'rolled_back' })
    expect(await typesOf('room:a')).toEqual([withdrawnType])
    await other.close()
  })

  it('comes behind the settlement, and is refused', async () => {
    const other = otherNode()
    const key = await openOperation()
    const client = await at.direct.connect()
    await client.query('begin')
    await client.query(
      `select from lockstep.settle_operations(array[$1::uuid], array['receipts'], array['ada'], array[$2::uuid], array['x'],
         array[null::json], '{}', '{}', '{}', '{}', 50, 50)`,
      [key.id, key.node],
    )
    const busy = await openTransaction(writeRollbackEvents(schema, [eventOf(key)]))
    expect(busy.rows).toEqual([{ answer: 'busy' }])
    await busy.end('commit')
    const refused = other.writer.write(eventOf(key), sleeping).catch((error: unknown) => error)
    await client.query('commit')
    client.release()
    expect(await refused).toMatchObject({ code: 'LS_OPERATION_FENCED' })
    expect([await typesOf('room:a'), await rowsLeft()]).toEqual([[], 0])
    await other.close()
  })

  it('is refused once its intent is gone, however long ago the outcome was forgotten', async () => {
    const other = otherNode()
    const key = await openOperation()
    await at.direct.query('delete from lockstep.intents where node = $1', [key.node])
    await expect(other.writer.write(eventOf(key), sleeping)).rejects.toMatchObject({
      code: 'LS_OPERATION_FENCED',
    })
    expect(await rowsLeft()).toBe(0)
    await other.close()
  })

  it('has several nodes work on copies: each key is withdrawn once', async () => {
    const [one, two] = [otherNode(), otherNode()]
    const first = await openOperation()
    const second = { ...first, node: randomUUID() }
    await at.direct.query(
      `insert into lockstep.intents (node, slot, batch, ids, names, user_ids, input_hashes)
       values ($1, 0, 1, array[$2::uuid], array['receipts'], array['ada'], array['x'])`,
      [second.node, first.id],
    )
    await Promise.all([
      one.writer.write(eventOf(first), sleeping),
      two.writer.write(eventOf(second), sleeping),
      two.writer.write(eventOf(second, 'room:b', 'another'), sleeping),
    ])
    expect(await rowsLeft()).toBe(3)
    await Promise.all([
      one.settler.settle(first, noticeFor(first)),
      two.settler.settle(second, noticeFor(second)),
    ])
    expect([await typesOf('room:a'), await typesOf('room:b')]).toEqual([[withdrawnType], [withdrawnType]])
    expect([await typesOf('user:ada'), await rowsLeft()]).toMatchObject([[expect.anything()], 0])
    await Promise.all([one.close(), two.close()])
  })

  it('hangs: the settlements of others go on, and that of its operation comes when it has ended', async () => {
    const other = otherNode()
    const held = await openOperation('bob')
    const leaving = await openTransaction(writeRollbackEvents(schema, [eventOf(held)]))
    const settled = other.settler.settleUntilKnown(held, noticeFor(held), {
      signal: sleeping,
      mode: 'enforce',
    })
    const others = await Promise.all(Array.from({ length: 20 }, (_, n) => openOperation(`user${n}`)))
    const began = performance.now()
    await Promise.all(others.map((key) => other.settler.settle(key, noticeFor(key))))
    expect(performance.now() - began).toBeLessThan(1_000)
    expect(await typesOf('user:bob')).toEqual([])
    await leaving.end('commit')
    expect(await settled).toMatchObject({ state: 'rolled_back' })
    expect(await typesOf('room:a')).toEqual([withdrawnType])
    await other.close()
  })

  it('asks again for what a COMMIT under way takes away, and does not wait for its end', async () => {
    const other = otherNode()
    const key = await openOperation()
    await other.writer.write(eventOf(key), sleeping)
    const committing = await openTransaction(forgetRollbackEvents(schema, key))
    await other.writer.write(eventOf(key), sleeping)
    await committing.end('rollback')
    await other.settler.settle(key, noticeFor(key))
    expect(await typesOf('room:a')).toEqual([withdrawnType])
    await other.close()
  })

  it('loses its connection in between: what was written twice is withdrawn once', async () => {
    const other = otherNode()
    const key = await openOperation()
    const leaving = await openTransaction(writeRollbackEvents(schema, [eventOf(key)]))
    const again = other.writer.write(eventOf(key), sleeping)
    await leaving.end('commit')
    await again
    await other.settler.settle(key, noticeFor(key))
    expect(await typesOf('room:a')).toEqual([withdrawnType])
    await other.close()
  })
})

it('a hundred operations that leave something while they are settled: what was written is withdrawn, and nothing else', async () => {
  const nodes = [otherNode(), otherNode()]
  const keys = await Promise.all(
    Array.from({ length: 100 }, (_, n) => openOperation(`user${n % 5}`, randomUUID())),
  )
  const written = new Set<string>()
  await Promise.all(
    keys.map(async (key, n) => {
      const [one, two] = n % 2 === 0 ? nodes : nodes.toReversed()
      const leaving = one?.writer.write(eventOf(key, `room:${n % 3}`), sleeping).then(
        () => void written.add(key.id),
        () => {},
      )
      await Promise.all([leaving, two?.settler.settle(key, noticeFor(key))])
    }),
  )
  const rows = await at.rows<{ id: string }>(
    `select operation_id as id from lockstep.events where type = '${withdrawnType}'`,
  )
  expect(rows.map(({ id }) => id).toSorted()).toEqual([...written].toSorted())
  expect(await rowsLeft()).toBe(0)
  await Promise.all(nodes.map((node) => node.close()))
})

it('the database keeps nothing of a copy that left something while another copy committed', async () => {
  const key = await openOperation()
  const leaving = await openTransaction(writeRollbackEvents(schema, [eventOf(key)]))
  await at.direct.query(
    `insert into lockstep.operations (id, name, user_id, node, input_hash, state, settled_at)
     values ($1, 'receipts', 'ada', $2, 'x', 'committed', now())`,
    [key.id, randomUUID()],
  )
  await leaving.end('commit')
  expect(await rowsLeft()).toBe(1)
  await expect.poll(rowsLeft, { timeout: 10_000 }).toBe(0)
})

it('an outcome is forgotten after what was left for a rollback of its operation, and not before', async () => {
  const client = await at.direct.connect()
  const trim = ({ text, values = [] }: Statement) => client.query(text, [...values])
  const forgetOutcomes = () => trim(trimOperations(schema, { outcomesMs: 1, closedIdsMs: 1 }, 0, 10_000))
  const outcomes = async () =>
    (await client.query('select from lockstep.operations where id = $1', [id])).rowCount
  const id = newOperationId()
  await client.query('begin')
  await client.query(
    `insert into lockstep.rollback_events (operation_id, user_id, part, key, node, channel, type, data)
     values ($1, 'ada', 'receipts', 'k', $1, 'room:a', 'withdrawn', '{}')`,
    [id],
  )
  await client.query(
    `insert into lockstep.operations (id, name, user_id, node, input_hash, state, settled_at)
     values ($1, 'receipts', 'ada', $1, 'x', 'committed', now() - interval '30 days')`,
    [id],
  )
  await forgetOutcomes()
  expect(await outcomes()).toBe(1)
  await trim(trimRollbackEvents(schema, 0, 10_000))
  await forgetOutcomes()
  expect(await outcomes()).toBe(0)
  await client.query('rollback')
  client.release()
})

it('is kept in memory on PGlite, whose one session belongs to the operation', async () => {
  const pglite = await PGlite.create()
  const receipts = createReceiptsPart()
  const node = createLockstepWith({ database: fromPglite(pglite), auth: { secret }, logger: silentLogger }, [
    receipts,
  ])
  await node.start()
  const leave = (fails: boolean) =>
    node.transaction({ name: 'receipts', user: 'ada' }, async (tx) => {
      await leavePromise(tx, receipts, 'room:a')
      if (fails) throw new Error('not this')
    })
  await leave(false)
  await expect(leave(true)).rejects.toThrow('not this')
  const { rows } = await pglite.query(`select type from lockstep.events where channel = 'room:a'`)
  expect(rows).toEqual([{ type: withdrawnType }])
  await node.close()
  await pglite.close()
}, 60_000)

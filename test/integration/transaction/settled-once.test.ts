// Operations count once in the cluster, also when more than one node comes to the end of one.
import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { silentProbe, systemClock, type OperationReport, type Queryable } from '../../../src/core/index.ts'
import { CountingAppender } from '../../../src/log/index.ts'
import { fromPool, readOrphans, type OperationKey } from '../../../src/postgres/index.ts'
import { OrphanWatch, Settler } from '../../../src/transaction/index.ts'
import { createNotice } from '../../../src/transaction/settle/notice.ts'
import { OrphanSettlement } from '../../../src/transaction/settle/orphan-settlement.ts'
import { newOperationId, silentLogger } from '../../../src/index.ts'
import { ManualClock } from '../../support/manual-clock.ts'
import { createTestDatabase, type TestDatabase } from '../../support/database.ts'

let database: TestDatabase
let pool: pg.Pool
beforeEach(async () => {
  database = await createTestDatabase()
  pool = new pg.Pool({ connectionString: database.url, max: 4 })
})
afterEach(async () => {
  await pool.end()
  await database.drop()
})

const noticeFor = ({ id, name }: OperationKey) =>
  createNotice({
    operationId: id,
    operationName: name,
    rollback: {},
    code: 'LS_OPERATION_INTERRUPTED',
    affectedLayers: [],
  })

/** Facts of a node, for what settles there. */
function nodeFacts(wrap: (own: Queryable) => Queryable = (own) => own) {
  const { own, schema } = fromPool(pool)
  return { own: wrap(own), schema, clock: systemClock, logger: silentLogger }
}

function createSettler(wrap?: (own: Queryable) => Queryable): Settler {
  const facts = nodeFacts(wrap)
  return new Settler({ ...facts, log: new CountingAppender(facts.own, facts.schema), deliver: () => {} })
}

function createOrphanSettlement(
  ended: OperationReport[],
  wrap?: (own: Queryable) => Queryable,
): OrphanSettlement {
  const probe = { ...silentProbe, isOn: true, ended: (report: OperationReport) => void ended.push(report) }
  return new OrphanSettlement({ ...nodeFacts(wrap), settler: createSettler(wrap), probe })
}

/** Writes the intent of an operation whose node is not there any more. */
async function plantOrphan(): Promise<OperationKey> {
  const key = { id: newOperationId(), name: 'add_note', userId: 'ann', node: randomUUID(), inputHash: 'x' }
  await pool.query(
    `insert into lockstep.intents (node, slot, batch, ids, names, user_ids, input_hashes)
     values ($4, 0, 1, array[$1::uuid], array[$2], array[$3], array[$5])`,
    [key.id, key.name, key.userId, key.node, key.inputHash],
  )
  return key
}

test('an orphan that two nodes read at once is reported by the one that settles it', async () => {
  const { id } = await plantOrphan()
  const [first, second]: [OperationReport[], OperationReport[]] = [[], []]
  const quick = createOrphanSettlement(second)
  let hasRead = false
  const slow = createOrphanSettlement(first, (own) => ({
    async query<Row>(statement: Parameters<Queryable['query']>[0]) {
      const answer = await own.query<Row>(statement)
      // A second node reads and settles between this node's read and its settlement.
      if (!hasRead) {
        hasRead = true
        await quick.settleAll({ noticeFor, limit: 10 })
      }
      return answer
    },
  }))
  expect(await slow.settleAll({ noticeFor, limit: 10 })).toBe(1)
  expect(second.map(({ operationId }) => operationId)).toEqual([id])
  expect(first).toEqual([])
})

test('a full batch of orphans that cannot be settled is left for the next round, and not read again at once', async () => {
  const ids = Array.from({ length: 200 }, () => newOperationId())
  await pool.query(
    `insert into lockstep.intents (node, slot, batch, ids, names, user_ids, input_hashes)
     select $1, 0, 1, $2::uuid[], array_fill('n'::text, array[200]), array_fill('ann'::text, array[200]),
       array_fill('x'::text, array[200])`,
    [randomUUID(), ids],
  )
  await pool.query('alter table lockstep.operations add constraint full_disk check (false) not valid')
  let reads = 0
  const counted = nodeFacts((own) => ({
    async query<Row>(statement: Parameters<Queryable['query']>[0]) {
      if (statement.text === readOrphans('"lockstep"', 200).text) reads += 1
      return own.query<Row>(statement)
    },
  }))
  const clock = new ManualClock()
  const pauses: number[] = []
  const watch = new OrphanWatch({
    ...counted,
    settler: createSettler(),
    probe: silentProbe,
    clock: {
      now: () => clock.now(),
      monotonic: () => clock.monotonic(),
      after(delayMs, work) {
        pauses.push(delayMs)
        return clock.after(delayMs, work)
      },
    },
    rollbackOf: () => ({}),
    openLeases: () => [],
    intervalMs: 1_000,
  })
  watch.start()
  clock.advance(0)
  await expect.poll(() => pauses).toEqual([0, 1_000])
  expect(reads).toBe(1)
  await watch.close()
})

test('a settlement says whether somebody had decided before, except after a reply that was lost', async () => {
  const key = await plantOrphan()
  const notice = noticeFor(key)
  const settler = createSettler()
  expect(await settler.settle(key, notice)).not.toHaveProperty('wasDecidedBefore')
  expect(await settler.settle(key, notice)).toMatchObject({ state: 'rolled_back', wasDecidedBefore: true })

  const other = await plantOrphan()
  let isLost = false
  const unlucky = createSettler((own) => ({
    async query<Row>(statement: Parameters<Queryable['query']>[0]) {
      const answer = await own.query<Row>(statement)
      if (!isLost) {
        isLost = true
        throw new Error('the reply was lost')
      }
      return answer
    },
  }))
  const signal = new AbortController().signal
  const settled = await unlucky.settleUntilKnown(other, noticeFor(other), { signal, mode: 'enforce' })
  expect(settled.state).toBe('rolled_back')
  expect(settled).not.toHaveProperty('wasDecidedBefore')
})

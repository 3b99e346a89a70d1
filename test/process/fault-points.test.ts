// Every fault point, with the process killed, halted past its lease, or its code made to throw right there. Whatever
// happens: one outcome, told to its user, equal for every copy of the call, and nothing left open.
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { newOperationId } from '../../src/client/index.ts'
import { faultPoints, type FaultPoint } from '../../src/core/fault-point.ts'
import { Arena } from '../faults/arena.ts'
import { createNodeBundles, type NodeBundles } from '../faults/build-node.ts'
import type { Plan } from '../faults/caller.ts'
import type { FaultAction } from '../faults/node.ts'
import { startOwnPostgres, type OwnPostgres } from '../support/postgres.ts'

let postgres: OwnPostgres
let bundles: NodeBundles
let bundle: string

beforeAll(async () => {
  postgres = await startOwnPostgres({ durable: false })
  bundles = await createNodeBundles()
  bundle = await bundles.build('sources')
})
afterAll(async () => {
  await bundles.close()
  await postgres.close()
})

/** Points passed only when an operation is rolled back. */
const ofRollback = new Set<FaultPoint>([
  'transaction.before-notice',
  'transaction.after-notice',
  'settlement.before-settle',
  'settlement.after-settle',
])

/** Plan of a call that makes the victim pass the fault point. */
function planFor(point: FaultPoint): Plan {
  if (ofRollback.has(point)) return { rooms: ['a'], fail: 'throw' }
  // Long enough for a renewal of the lease in the middle of the transaction.
  if (point === 'lease.before-renew') return { rooms: ['a'], holdMs: 800 }
  return { rooms: ['a', 'a', 'b'] }
}

/** Points passed only when a dead node has left an operation open. */
const ofOrphans = new Set<FaultPoint>(['settlement.before-forget', 'settlement.after-forget'])

/** Points passed only by the node that finds out first that the history is another. */
const ofHistory = new Set<FaultPoint>(['history.before-renew', 'history.after-renew'])

/** Makes the history look as if the server had been promoted. */
const promote = (arena: Arena) => arena.direct.query('update lockstep.meta set timeline = timeline + 1')

/** Plants an operation without a node: both nodes see it, settle it, and later remove its intent. */
async function plantOrphan(arena: Arena): Promise<void> {
  await arena.direct.query(
    `insert into lockstep.intents (node, slot, batch, ids, names, user_ids, input_hashes)
     values ($1, 0, 1, array[$2::uuid], array['post'], array['cat'], array['x'])`,
    [randomUUID(), newOperationId()],
  )
}

/**
 * Finds a row when a node's lease has run out. On a busy machine a node may have lost a lease before, and go on under
 * another.
 */
const leaseHasRunOut = `select from lockstep.nodes
  having count(*) > 1 and count(*) filter (where lease_until >= clock_timestamp()) = 1`

/** @returns how often the user's application was told */
async function play(arena: Arena, point: FaultPoint, action: FaultAction): Promise<number> {
  const [victim, rescue] = arena.cluster.slots
  if (victim === undefined || rescue === undefined) throw new Error('two nodes are needed')
  arena.cluster.prefer(rescue)
  await arena.subscriber('ada', ['a', 'b'])
  const device = await arena.subscriber('bob', [])
  arena.cluster.prefer(victim)
  const caller = await arena.caller('bob')
  // Clients that lose the victim reconnect to the other node.
  arena.cluster.prefer(rescue)

  const id = newOperationId()
  const plan = planFor(point)
  await victim.node.arm({ point, action })
  const call = caller.call(id, plan)
  let polls = 0
  await arena.until(`${point} is reached`, async () => {
    if (polls++ % 20 === 0) {
      if (ofOrphans.has(point)) await plantOrphan(arena)
      if (ofHistory.has(point)) await promote(arena)
    }
    return victim.node.reached(point)
  })
  if (action === 'stop') {
    await arena.until(
      'its lease has run out',
      async () => (await arena.direct.query(leaseHasRunOut)).rowCount === 1,
    )
    await arena.until('the other node has settled it', async () => (await arena.stateOf(id)) !== 'started')
    victim.node.signal('SIGCONT')
  }
  await call
  await arena.untilTransactionsEnded()
  await device.copy(id, plan)

  return arena.history.lines.filter((line) => line.kind === 'outcome').length
}

// The points run several at once on few cores: each may take its time, all together may not.
describe.each<FaultAction>(['kill', 'stop', 'throw'])(
  'a fault point with %s',
  { timeout: 60_000 },
  (action) => {
    it.concurrent.each(faultPoints)('%s', async (point) => {
      const arena = await Arena.open({
        bundle,
        serverUrl: postgres.server.url,
        database: `${action}_${point}`,
        nodes: 2,
        restart: false,
      })
      try {
        expect(await play(arena, point, action)).toBe(1)
        expect(await arena.verdict({ heal: false, isEpochRenewed: ofHistory.has(point) })).toEqual([])
      } finally {
        await arena.close()
      }
    })
  },
)

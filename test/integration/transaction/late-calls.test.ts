// A process that stands still between a call and its first trace in the database, for longer than a closed id is kept.
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { setFaultHook, type FaultPoint } from '../../../src/core/fault-point.ts'
import { systemClock } from '../../../src/core/index.ts'
import { newOperationId } from '../../../src/index.ts'
import { fromPool, trimOperations } from '../../../src/postgres/index.ts'
import { centrifuge, connected, serve, type Served } from '../../support/sockets.ts'
import { createWorld, type World } from '../../support/world.ts'

const minuteMs = 60_000
const skew = { monotonic: 0, now: 0 }
const clock = {
  ...systemClock,
  monotonic: () => systemClock.monotonic() + skew.monotonic,
  now: () => systemClock.now() + skew.now,
}
let asked: World
let served: Served
let still: World

beforeAll(async () => {
  asked = await createWorld()
  served = await serve(asked)
})
// A node that has stood still takes any call for an old one until its next renewals, so each test has its own.
beforeEach(async () => {
  still = await createWorld({ databaseUrl: asked.url, clock, leaseMs: 60_000 })
})
afterEach(async () => {
  setFaultHook(undefined)
  await still.close()
})
afterAll(async () => {
  await asked.close()
  await served.close()
})

/** Closes the id as never received on another node, and removes the row that says so, as retention does. */
async function closeAndForget(id: string): Promise<void> {
  const client = await connected(centrifuge(served.url, 'ada'))
  const { data } = await client.rpc('lockstep.outcomes', { ids: [id] })
  client.disconnect()
  expect(data).toEqual({ outcomes: [{ outcome: 'never_received', operationId: id }] })
  await asked.rows(`update lockstep.operations set settled_at = settled_at - interval '11 minutes'`)
  const { own, schema } = fromPool(asked.pool)
  await own.query(trimOperations(schema, { outcomesMs: 86_400_000, closedIdsMs: 10 * minuteMs }, 0, 10_000))
  expect(await asked.rows('select from lockstep.operations where id = $1', [id])).toEqual([])
}

function standStillOnce(point: FaultPoint, id: string, clocks: Partial<typeof skew>): void {
  setFaultHook(async (name) => {
    if (name !== point) return
    setFaultHook(undefined)
    await closeAndForget(id)
    skew.monotonic += clocks.monotonic ?? 0
    skew.now += clocks.now ?? 0
  })
}

it.each([
  { intent: true, point: 'transaction.before-intent', clocks: { monotonic: 11 * minuteMs } },
  { intent: true, point: 'transaction.before-batch', clocks: { now: 11 * minuteMs } },
  { intent: false, point: 'transaction.before-commit', clocks: { monotonic: 11 * minuteMs } },
  { intent: false, point: 'transaction.before-work', clocks: { now: 11 * minuteMs } },
] as const)(
  'does not commit a call that was said never to be received (intent: $intent, at $point)',
  async ({ intent, point, clocks }) => {
    const id = newOperationId()
    standStillOnce(point, id, clocks)
    const call = still.lockstep.transaction({ name: 'late', user: 'ada', id, intent }, (tx) =>
      tx.db.query('insert into notes values ($1, $1)', [id]),
    )
    await expect(call).rejects.toMatchObject({ code: 'LS_OPERATION_TIMEOUT' })
    expect(await asked.rows('select from notes where id = $1', [id])).toEqual([])
    expect(await asked.rows('select state from lockstep.operations where id = $1', [id])).toEqual([
      { state: 'rolled_back' },
    ])
  },
)

it('does not commit a call that may have lain in the socket of a process that stood still', async () => {
  const id = newOperationId()
  await closeAndForget(id)
  skew.monotonic += 11 * minuteMs
  const input = { room: 'late', id, text: 'x' }
  expect(await still.addNote.call(input, { id, user: 'ada' })).toMatchObject({
    outcome: 'rolled_back',
    notice: { errorCode: 'LS_OPERATION_TIMEOUT' },
  })
  expect(await asked.rows('select from notes where id = $1', [id])).toEqual([])
})

it('commits a call whose intent came in time, however long its work takes', async () => {
  const id = newOperationId()
  let release = (): void => {}
  const gate = new Promise<void>((resolve) => (release = resolve))
  const long = still.lockstep.transaction({ name: 'long', user: 'ada', id }, async (tx) => {
    await gate
    await tx.db.query('insert into notes values ($1, $1)', [id])
  })
  // Batches of intents are written one after the other.
  await still.lockstep.transaction({ name: 'short', user: 'ada' }, async () => {})
  skew.monotonic += 11 * minuteMs
  release()
  await long
  expect(await asked.rows('select from notes where id = $1', [id])).toHaveLength(1)
})

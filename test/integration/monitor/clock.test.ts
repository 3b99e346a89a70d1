// A node that does not know the database's clock yet.
import { expect, test } from 'vitest'
import { createHealthWorld, endReport } from '../../support/health.ts'
import { eventually } from '../../support/eventually.ts'

test('a node asked for its health before it knows the time reads what the others measured once it does', async () => {
  const world = await createHealthWorld()
  let aheadMs = 2 * 3_600_000
  const early = world.monitor({
    databaseClock: { toDatabaseMs: (ms) => performance.timeOrigin + ms + aheadMs, errorMs: 2 },
  })
  expect(await early.summary()).toMatchObject({ score: 1 })
  aheadMs = 0
  const other = world.monitor()
  for (let n = 0; n < 50; n += 1) other.probe.ended(endReport())
  await other.rollUp()
  await eventually(async () => expect(await early.score()).toMatchObject({ operations: 50 }), 10_000)
  await world.close()
})

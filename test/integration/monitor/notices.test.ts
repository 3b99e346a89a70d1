// Notices that no longer stand in the log: those that were lost, and those whose time was up.
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createHealthWorld, newIds, type HealthWorld } from '../../support/health.ts'
import { eventually } from '../../support/eventually.ts'

const kind = 'missing_rollback_notification'
let world: HealthWorld

beforeEach(async () => {
  world = await createHealthWorld()
})
afterEach(() => world.close())

const until = (check: () => Promise<void>): Promise<void> => eventually(check, 15_000)

async function storedIds(): Promise<string[]> {
  const rows = await world.rows<{ operation_id: string }>(
    'select operation_id from lockstep.health_violations where kind = $1 order by 1',
    [kind],
  )
  return rows.map((row) => row.operation_id)
}

test('a notice that has been let go of with old events is not missed', async () => {
  const [old, missing] = [newIds(20), newIds(1)]
  await world.operations([...old, ...missing], { state: 'rolled_back' })
  await world.rows(
    `update lockstep.operations set settled_at = settled_at - interval '57 seconds' where id = any($1::uuid[])`,
    [old],
  )
  // The monitor looks at old rollbacks first, so these were looked at when the new one is found.
  const monitor = world.monitor({ eventRetentionMs: 60_000 })
  await until(async () => expect((await monitor.summary()).violations[kind]).toBeGreaterThan(0))
  await monitor.close()
  expect(await storedIds()).toEqual(missing)
  expect((await monitor.dashboard()).rollbacks).toMatchObject({ told: 0, untold: 1 })
})

test('a notice that is deleted long after is found too', async () => {
  const ids = newIds(20)
  const lost = ids[7] ?? ''
  await world.operations(ids, { state: 'rolled_back' })
  await world.rows(`update lockstep.operations set settled_at = now() - interval '30 minutes'`)
  await world.events('user:ada', ids, 'transaction_rolled_back')
  const recent = newIds(1)
  await world.operations(recent, { state: 'rolled_back' })
  const monitor = world.monitor()
  await until(async () => expect(await storedIds()).toEqual(recent))
  await world.rows('delete from lockstep.events where operation_id = $1', [lost])
  await until(async () => expect(await storedIds()).toEqual([lost, ...recent].toSorted()))
  await monitor.close()
})

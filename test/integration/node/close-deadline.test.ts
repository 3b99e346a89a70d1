// A node that is closed ends by its deadline, whatever else does not end.
import { randomUUID } from 'node:crypto'
import { afterEach, expect, it } from 'vitest'
import { newOperationId } from '../../../src/client/index.ts'
import { memoryBus, type Bus } from '../../../src/index.ts'
import { createWorld, type World, type WorldOptions } from '../../support/world.ts'

const worlds: World[] = []
afterEach(async () => {
  await Promise.all(worlds.splice(0).map((world) => world.close()))
})

async function openWorld(options: WorldOptions = {}): Promise<World> {
  const world = await createWorld(options)
  worlds.push(world)
  return world
}

/** Operations that a dead node has left, each of which takes its time to settle. */
async function plantSlowOrphans(world: World, count: number): Promise<void> {
  await world.direct.query(`
    create function pause_slowly() returns trigger language plpgsql as
      $$ begin perform pg_sleep(0.1); return new; end $$;
    create trigger slow before insert on lockstep.operations for each row
      when (new.name = 'slow') execute function pause_slowly()`)
  const ids = Array.from({ length: count }, () => newOperationId())
  await world.direct.query(
    `insert into lockstep.intents (node, slot, batch, ids, names, user_ids, input_hashes)
     select $1, row_number() over (), 1, array[id], array['slow'], array['cat'], array['x']
     from unnest($2::uuid[]) as id`,
    [randomUUID(), ids],
  )
}

const countSettled = async (world: World): Promise<number> =>
  Number(
    (await world.rows<{ n: string }>(`select count(*) as n from lockstep.operations where name = 'slow'`))[0]
      ?.n,
  )

it('leaves what dead nodes have left to the other nodes, after the one that it is at', async () => {
  const world = await openWorld({ bus: false })
  await plantSlowOrphans(world, 200)
  await expect.poll(() => countSettled(world)).toBeGreaterThan(0)
  const before = await countSettled(world)
  await world.lockstep.close({ drainMs: 0 })
  // Settling all orphans would have taken 20 s.
  expect(await countSettled(world)).toBeLessThan(before + 100)
})

it('does not wait for a bus that does not close, or for a hook that does not end, and says so', async () => {
  const bus: Bus = Object.assign(memoryBus('close-deadline'), { close: () => new Promise<never>(() => {}) })
  const world = await openWorld({ bus })
  const hanging = world.lockstep.transaction({ name: 'hooked', user: 'ada' }, async (tx) => {
    await tx.db.query(`insert into notes values ('hooked', 'x')`)
    tx.afterCommit(() => new Promise(() => {}))
  })
  hanging.catch(() => {})
  await expect.poll(() => world.rows('select from notes')).toHaveLength(1)
  const began = performance.now()
  await world.lockstep.close({ drainMs: 100 })
  expect(performance.now() - began).toBeLessThan(1.2 * 100 + 10_000 + 500)
  expect(
    world.logger.lines.find(({ message }) => message.startsWith('the node was closed before'))?.fields,
  ).toEqual({
    unfinished: ['bus'],
  })
  // The lease is given back all the same.
  expect(await world.rows('select from lockstep.nodes where lease_until > clock_timestamp()')).toEqual([])
})

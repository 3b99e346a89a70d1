// Flushes of one channel wait for each other in the node, which the database does not see.
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createWorld, room, type World } from '../../support/world.ts'

let world: World

beforeAll(async () => {
  world = await createWorld({ poolSize: 12 })
  await world.direct.query(`
    create table kept (id text primary key);
    insert into kept values ('row');
    create table checked (id text);
    create function check_late() returns trigger language plpgsql as $$
      begin perform from kept where id = 'row' for update; return new; end $$;
    create constraint trigger late after insert on checked deferrable initially deferred
      for each row execute function check_late();`)
})
afterAll(() => world.close())

const emit = (n: number, work: (query: (text: string) => Promise<unknown>) => Promise<void>) =>
  world.lockstep.transaction({ name: 'count', user: 'ada' }, async (tx) => {
    await work((text) => tx.db.query(text))
    tx.emit(room({ id: 'hot' }), 'counted', { n })
  })

it('a circle through a deferred trigger is left to the database, which breaks it', async () => {
  let holds = (): void => {}
  const held = new Promise<void>((resolve) => (holds = resolve))
  let goOn = (): void => {}
  const others = new Promise<void>((resolve) => (goOn = resolve))
  // Holds the row that the others need in their COMMIT, and comes behind them on the channel.
  const last = emit(3, async (query) => {
    await query(`update kept set id = id where id = 'row'`)
    holds()
    await others
  })
  await held
  const first = [1, 2].map((n) =>
    emit(n, async (query) => {
      await query(`insert into checked values ('x')`)
    }),
  )
  const waiting = async (): Promise<number> => {
    const { rows } = await world.direct.query<{ count: number }>(
      `select count(*)::int as count from pg_stat_activity
       where datname = current_database() and wait_event_type = 'Lock'`,
    )
    return rows[0]?.count ?? 0
  }
  await expect.poll(waiting).toBe(2)
  goOn()
  await Promise.all([last, ...first])
})

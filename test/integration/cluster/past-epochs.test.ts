// Epochs that the database itself names to nodes that have started since: those that it has left, and the place in
// which the present one was made.
import { randomBytes } from 'node:crypto'
import type { Centrifuge } from 'centrifuge'
import { afterEach, expect, inject, it } from 'vitest'
import { createDatabase, databaseUrl, dropDatabase } from '../../../tools/embedded-postgres/index.ts'
import { addNote, endConnections, Histories, lobbyOf, type Position } from '../../support/histories.ts'
import { Inbox } from '../../support/sockets.ts'
import type { LogLine, World } from '../../support/world.ts'

const at = new Histories()
afterEach(() => at.close())

async function metaOf(world: World) {
  const [row] = await world.rows<{ epoch: string; past_epochs: string[] }>(
    'select epoch, past_epochs from lockstep.meta',
  )
  if (row === undefined) throw new Error('no history')
  return row
}

/** Answers to a client that was away from the room, and comes back with this position. */
function comeBack(client: Centrifuge, since: Position): Inbox<string> {
  const told = new Inbox<string>()
  const subscription = lobbyOf(client, since)
  subscription.on('subscribed', ({ recovered }) => told.push(recovered ? 'recovered' : 'reload'))
  subscription.on('error', () => told.push('later'))
  subscription.subscribe()
  return told
}

it('a node that came later does not take an epoch that was left before it for a new one', async () => {
  const test = await at.openDatabase()
  const early = await at.openNode(test.url)
  const lost = await addNote(early)
  await early.direct.query(`select lockstep.renew_epoch(null, 'the next')`)
  const late = await at.openNode(test.url, { leaseMs: 900 })
  const client = await at.connect(late)
  await early.close()
  // A backup of before the renewal: what was committed to that epoch since then is lost, and others pass its head.
  await late.direct.query(`begin; update lockstep.meta set epoch = '${lost.epoch}', past_epochs = '{}';
    delete from lockstep.events; delete from lockstep.channels; delete from lockstep.nodes;
    insert into lockstep.channels values ('room:lobby', ${lost.offset}); commit`)
  await endConnections(late.direct)
  const told = comeBack(client, lost)
  const isRefused = ({ message, fields }: LogLine): boolean =>
    message === 'the lease was not renewed' &&
    String(fields['error']).includes(`${lost.epoch}, which was left before the next`)
  await expect.poll(() => late.logger.lines.filter(isRefused).length).toBeGreaterThan(1)
  await told.until((items) => items.includes('later'))
  expect(told.items).not.toContain('recovered')
  expect(await late.lockstep.health.report()).toMatchObject({ epoch: 'the next' })
  await late.direct.query(`select lockstep.renew_epoch(null, 'the restored one')`)
  await told.until((items) => items.at(-1) === 'reload')
  expect(told.items).not.toContain('recovered')
  // The backup knows nothing of its lease, so that it takes no work before it has a new one.
  await expect.poll(() => late.lockstep.health.report()).toMatchObject({ status: 'ok' })
  expect(await addNote(late)).toEqual({ offset: lost.offset + 1, epoch: 'the restored one' })
})

it('a dump that is restored into the same cluster is another history for the nodes that start on it', async () => {
  const test = await at.openDatabase()
  const before = await at.openNode(test.url)
  const lost = await addNote(before)
  await before.close()
  const direct = at.openPool(test.url)
  // Do as pg_restore does: make the table anew, and copy its row into it.
  await direct.query(`begin; alter table lockstep.meta rename to dumped;
    create table lockstep.meta (like lockstep.dumped including all);
    insert into lockstep.meta select * from lockstep.dumped; drop table lockstep.dumped; commit`)
  const node = await at.openNode(test.url)
  const { epoch, past_epochs } = await metaOf(node)
  expect(epoch).not.toBe(lost.epoch)
  expect(past_epochs.at(-1)).toBe(lost.epoch)
  const told = comeBack(await at.connect(node), lost)
  await told.until((items) => items.length > 0)
  expect(told.items).toEqual(['reload'])
  // A place of its own by now.
  expect(await metaOf(await at.openNode(test.url))).toEqual({ epoch, past_epochs })
})

it('a copy of a database in the same cluster gets an epoch of its own', async () => {
  const test = await at.openDatabase()
  const node = await at.openNode(test.url)
  await addNote(node)
  const { epoch } = await metaOf(node)
  await node.close()
  const { url } = inject('postgres')
  const copy = `lockstep_test_${randomBytes(6).toString('hex')}`
  await createDatabase(url, copy, { template: test.name })
  at.onClose(() => dropDatabase(url, copy))
  const [original, other] = [await at.openNode(test.url), await at.openNode(databaseUrl(url, copy))]
  expect(await metaOf(original)).toMatchObject({ epoch })
  expect((await metaOf(other)).epoch).not.toBe(epoch)
})

it('each epoch that was left is kept, the last one last, and of a thousand the oldest goes', async () => {
  const test = await at.openDatabase()
  const { pool } = await at.openMigrated(test.url)
  await pool.query(`update lockstep.meta set epoch = 'e0', past_epochs = '{}'`)
  await pool.query(`do $$ begin for i in 1..1002 loop
    perform lockstep.renew_epoch(null, 'e' || i); end loop; end $$`)
  // Compared with one that stands no longer, it renews nothing.
  await pool.query(`select lockstep.renew_epoch('e7', 'never')`)
  const { rows } = await pool.query<{ epoch: string; past_epochs: string[] }>(
    'select epoch, past_epochs from lockstep.meta',
  )
  expect(rows[0]?.epoch).toBe('e1002')
  expect(rows[0]?.past_epochs).toHaveLength(1000)
  expect(rows[0]?.past_epochs.slice(0, 2)).toEqual(['e2', 'e3'])
  expect(rows[0]?.past_epochs.at(-1)).toBe('e1001')
})

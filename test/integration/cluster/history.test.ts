// Replacement of the history that nodes serve, while they run. A real failover and a real restore are played in
// test/failover; here a server is made to look like another one.
import { randomUUID } from 'node:crypto'
import { afterEach, expect, it } from 'vitest'
import { systemClock } from '../../../src/core/index.ts'
import { EpochWatch } from '../../../src/cluster/index.ts'
import {
  addNote,
  endConnections,
  Histories,
  lobbyOf,
  promote,
  type Position,
} from '../../support/histories.ts'
import { Inbox } from '../../support/sockets.ts'
import { createTestLogger, type LogLine, type World } from '../../support/world.ts'

const at = new Histories()
afterEach(() => at.close())

const epochOf = async (world: World): Promise<string> =>
  (await world.rows<{ epoch: string }>('select epoch from lockstep.meta'))[0]?.epoch ?? ''

const reported = async (world: World) => {
  const { epoch, historyChange } = await world.lockstep.health.report()
  return { epoch, reason: historyChange?.reason }
}

/**
 * Subscribes to `room:lobby` with the unmodified client, and lists what it is told. A recovery within a history tells nothing:
 * a node that may have missed revocations, as it may when the history changes, sends its clients through the check of their
 * tokens (3011), those included that came back before it heard revocations again.
 */
async function listenTo(world: World, since?: Position): Promise<Inbox<string>> {
  const told = new Inbox<string>()
  const subscription = lobbyOf(await at.connect(world), since)
  let epoch = since?.epoch
  subscription.on('subscribed', ({ wasRecovering, recovered, streamPosition }) => {
    if (!recovered) told.push(wasRecovering ? 'reload' : 'joined')
    else if (streamPosition?.epoch !== epoch) told.push('recovered into another history')
    epoch = streamPosition?.epoch
  })
  subscription.on('publication', ({ offset }) => told.push(`event ${offset}`))
  subscription.on('error', () => {})
  subscription.subscribe()
  await subscription.ready()
  return told
}

it('a promoted server is noticed by the next renewal: one new epoch for all nodes, and subscribers are asked to reload', async () => {
  const test = await at.openDatabase()
  const nodes = [await at.openNode(test.url), await at.openNode(test.url)] as const
  const [one, other] = [await listenTo(nodes[0]), await listenTo(nodes[1])]
  const before = await addNote(nodes[0])
  for (const told of [one, other]) await told.until((items) => items.includes('event 1'))
  await promote(nodes[0].direct)
  for (const told of [one, other]) await told.until((items) => items.includes('reload'))
  const epoch = await epochOf(nodes[0])
  expect(epoch).not.toBe(before.epoch)
  for (const node of nodes) await expect.poll(() => reported(node)).toMatchObject({ epoch })
  expect(await addNote(nodes[0])).toEqual({ offset: 2, epoch })
  for (const told of [one, other]) {
    await told.until((items) => items.at(-1) === 'event 2')
    expect(told.items).toEqual(['joined', 'event 1', 'reload', 'event 2'])
  }
  // A subscriber who was away comes with a position of the history before.
  expect((await listenTo(nodes[1], before)).items).toEqual(['reload'])
  expect(await epochOf(nodes[0])).toBe(epoch)
})

it('a connection is compared before its first use: nothing is committed to another history under the old epoch', async () => {
  const test = await at.openDatabase()
  // No renewal comes in time.
  const node = await at.openNode(test.url, { leaseMs: 600_000, headCheckMs: 600_000 })
  const one = await listenTo(node)
  const before = await addNote(node)
  await promote(node.direct)
  await endConnections(node.direct)
  await expect.poll(() => node.pool.totalCount).toBe(0)
  const after = await addNote(node)
  expect(after).toEqual({ offset: 2, epoch: await epochOf(node) })
  expect(after.epoch).not.toBe(before.epoch)
  await one.until((items) => items.includes('reload'))
  expect(await reported(node)).toMatchObject({ reason: 'the server is another one, or was promoted' })
})

it('a read of a check outside a transaction is compared, too, before it is sent', async () => {
  const test = await at.openDatabase()
  const { pool, database } = await at.openMigrated(test.url)
  const epochs = new EpochWatch({ ...database, clock: systemClock, logger: createTestLogger() })
  database.guard?.(epochs)
  const read = async (): Promise<unknown> => {
    const { rows } = await database
      .reads((work) => work())
      .query<{ epoch: string }>('select epoch from lockstep.meta')
    return rows[0]?.epoch
  }
  const before = await read()
  expect(epochs.epoch).toBe(before)
  const direct = at.openPool(test.url)
  await promote(direct)
  await endConnections(direct)
  await expect.poll(() => pool.totalCount).toBe(0)
  const after = await read()
  expect(after).not.toBe(before)
  expect(epochs.epoch).toBe(after)
})

it('renewals that are gone show a backup restored on the same timeline', async () => {
  const test = await at.openDatabase()
  const node = await at.openNode(test.url, { leaseMs: 900 })
  const one = await listenTo(node)
  const before = await addNote(node)
  await expect
    .poll(() => node.rows<{ renewals: string }>('select renewals from lockstep.nodes'))
    .not.toEqual([{ renewals: '0' }])
  await node.direct.query('update lockstep.nodes set renewals = -1')
  await one.until((items) => items.includes('reload'))
  expect(await epochOf(node)).not.toBe(before.epoch)
  expect(await reported(node)).toMatchObject({ reason: 'renewals of the lease of this node are gone' })
})

it('a head that went back renews the epoch', async () => {
  const test = await at.openDatabase()
  const node = await at.openNode(test.url)
  const one = await listenTo(node)
  const before = await addNote(node)
  await one.until((items) => items.includes('event 1'))
  await node.direct.query('begin; delete from lockstep.events; delete from lockstep.channels; commit')
  await one.until((items) => items.includes('reload'))
  const epoch = await epochOf(node)
  expect(epoch).not.toBe(before.epoch)
  expect(await addNote(node)).toEqual({ offset: 1, epoch })
})

it('an epoch that somebody renews is followed, and the connections of the one before are not used again', async () => {
  const test = await at.openDatabase()
  const node = await at.openNode(test.url)
  const one = await listenTo(node)
  await addNote(node)
  await node.direct.query(`select lockstep.renew_epoch(null, 'renewed by hand')`)
  await one.until((items) => items.includes('reload'))
  expect(await addNote(node)).toEqual({ offset: 2, epoch: 'renewed by hand' })
  expect(await reported(node)).toEqual({ epoch: 'renewed by hand', reason: 'the epoch was renewed' })
})

it('a node does not go back to an epoch that it has left, until somebody renews it there', async () => {
  const test = await at.openDatabase()
  const node = await at.openNode(test.url, { leaseMs: 900 })
  const one = await listenTo(node)
  const { epoch: left } = await addNote(node)
  await node.direct.query(`select lockstep.renew_epoch(null, 'the next')`)
  await one.until((items) => items.includes('reload'))
  // Makes the server look like an old primary that a name still leads to, or like a backup of an earlier day.
  await node.direct.query('update lockstep.meta set epoch = $1', [left])
  await endConnections(node.direct)
  const isRefused = ({ message, fields }: LogLine): boolean =>
    message === 'the lease was not renewed' &&
    /run `lockstep epoch renew` on it/.test(String(fields['error']))
  await expect.poll(() => node.logger.lines.filter(isRefused).length).toBeGreaterThan(1)
  expect(await reported(node)).toMatchObject({ epoch: 'the next' })
  await expect(addNote(node)).rejects.toThrow('rolled_back')
  expect(await node.rows('select from notes')).toHaveLength(1)
  expect(one.items).toEqual(['joined', 'event 1', 'reload'])
  await node.direct.query(`select lockstep.renew_epoch(null, 'the restored one')`)
  await one.until((items) => items.filter((item) => item === 'reload').length === 2)
  await expect.poll(() => reported(node)).toMatchObject({ epoch: 'the restored one' })
})

it.each([
  ['an hour', 1, true],
  ['25 hours', 25, false],
])(
  'a lease that is gone %s after its last renewal shows another history only if it cannot have been deleted',
  async (_, hours, isOther) => {
    const test = await at.openDatabase()
    const { database } = await at.openMigrated(test.url)
    const epochs = new EpochWatch({ ...database, clock: systemClock, logger: createTestLogger() })
    const before = await epochs.admit(database.own)
    epochs.leaseRenewed({ node: randomUUID(), renewals: 5, atMs: Date.now() - hours * 3_600_000 })
    expect((await epochs.admit(database.own)) !== before).toBe(isOther)
  },
)

it('a role that may read neither cluster nor timeline serves, and goes by what it can see', async () => {
  const test = await at.openDatabase()
  const admin = await at.openNode(test.url)
  const role = `plain_${test.name}`
  await admin.direct.query(`
    create role ${role} login password 'plain';
    revoke execute on function pg_control_system(), pg_walfile_name(pg_lsn) from public;
    grant usage, create on schema lockstep to ${role};
    grant select, insert, update, delete on all tables in schema lockstep to ${role};
    grant select, insert, update, delete on notes to ${role}`)
  at.onClose(async () => {
    // Functions of the catalogue belong to one database each, roles to the server.
    await admin.direct.query(`drop owned by ${role}; drop role ${role}`)
  })
  const url = new URL(test.url)
  url.username = role
  url.password = 'plain'
  const node = await at.openNode(test.url, { through: () => url.href, leaseMs: 900 })
  const one = await listenTo(node)
  const before = await addNote(node)
  await promote(node.direct)
  expect(await addNote(node)).toEqual({ offset: 2, epoch: before.epoch })
  await expect
    .poll(() => node.rows<{ renewals: string }>(`select max(renewals)::text as renewals from lockstep.nodes`))
    .not.toEqual([{ renewals: '0' }])
  await node.direct.query('update lockstep.nodes set renewals = -1')
  await one.until((items) => items.includes('reload'))
})

import { Centrifuge } from 'centrifuge'
import { WebSocket } from 'ws'
import { postgresBus } from '../../src/bus/index.ts'
import { systemClock } from '../../src/core/index.ts'
import { EventHub } from '../../src/feeds/index.ts'
import { fromPool, newOperationId, signToken, silentLogger } from '../../src/index.ts'
import { secret } from './application.ts'
import type { Checks } from './checks.ts'
import { figuresOnce, shownCounts, sumOf } from './figures.ts'
import { openSite, type Site } from './site.ts'
import { Arrivals } from '../issue370/within.ts'

const atOnce = 50
/** A channel that the log knows nothing of. */
const phantoms = 'room:phantom'

type Planted = ReadonlyMap<string, readonly string[]>

/** Violations of each kind that can exist, on two nodes with listeners, beside operations that are in step. */
export async function checkPlanted(checks: Checks, databaseUrl: string, each: number): Promise<void> {
  console.log(`${each} violations of each kind, planted on two nodes`)
  const nodes = [
    await openSite(databaseUrl, { headCheckMs: 600_000 }),
    await openSite(databaseUrl, { headCheckMs: 600_000 }),
  ] as const
  const [node] = nodes
  const ears = await Promise.all(nodes.map((one) => hear(one, 'ear', ['room:r0', phantoms])))
  const well = newIds(each)
  const told = newIds(each)
  await call(well, (id) => node.application.note.call({ room: 'r0', n: 1 }, { id, user: 'ann' }))
  await call(told, (id) => node.application.note.call({ room: 'r0', n: 1, fail: true }, { id, user: 'ann' }))

  const half = Math.floor(each / 2)
  const planted: Planted = new Map([
    ['websocket_before_commit', await plantEarly(node, each)],
    ['missing_rollback_notification', await plantUntold(node, each)],
    [
      'transaction_boundary_violation',
      await plantPhantoms(node, ears, [...newIds(each - half), ...told.slice(0, half)]),
    ],
    ['isolation', await plantExposures(node, each)],
  ])
  const total = each * planted.size
  const { violations, score } = await figuresOnce(
    nodes[1].http,
    ({ violations: { counts } }) => sumOf(counts) >= total,
    90_000,
  )
  // The planted violations are counted by now; a false one may still come with the next roll-up.
  await Promise.all(nodes.map(({ lockstep }) => lockstep.health.monitor.rollUp()))
  for (const [kind, ids] of planted) await checkFound(checks, node, kind, ids)
  checks.check(
    'nothing beyond what was planted',
    sumOf(violations.counts) === total && violations.notStored === 0,
    shownCounts(violations.counts),
  )
  checks.say(
    `score ${score.overall.toFixed(4)}: ${score.unhealthy} unhealthy of ${score.operations} operations`,
  )
  for (const ear of ears) ear.client.disconnect()
  for (const one of nodes) await one.close()
}

async function checkFound(
  checks: Checks,
  { pool }: Site,
  kind: string,
  ids: readonly string[],
): Promise<void> {
  const { rows } = await pool.query<{ id: string }>(
    'select operation_id as id from lockstep.health_violations where kind = $1',
    [kind],
  )
  const found = new Set(rows.map(({ id }) => id))
  const missed = ids.filter((id) => !found.has(id))
  const beyond = [...found].filter((id) => !ids.includes(id))
  checks.check(
    kind,
    missed.length === 0 && beyond.length === 0,
    `${ids.length} planted, ${found.size} found, ${missed.length} missed, ${beyond.length} that are none ${missed[0] ?? beyond[0] ?? ''}`,
  )
}

/** Shown before the commit. */
async function plantEarly({ application }: Site, count: number): Promise<readonly string[]> {
  const ids = newIds(count)
  await call(ids, (id) => application.early.call({ room: 'r0', n: 1 }, { id, user: 'ann' }))
  return ids
}

/** Rolled back, and nobody is notified. */
async function plantUntold({ application }: Site, count: number): Promise<readonly string[]> {
  const ids = newIds(count)
  await call(ids, (id) => application.untold.call({ room: 'r0', n: 1 }, { id, user: 'ann' }))
  return ids
}

/** A node that lies: on the bus are events of operations that nobody knows, and of some that were rolled back. */
async function plantPhantoms(
  { pool }: Site,
  ears: readonly Ear[],
  ids: readonly string[],
): Promise<readonly string[]> {
  const database = fromPool(pool)
  const { rows } = await pool.query<{ epoch: string }>('select epoch from lockstep.meta')
  const bus = postgresBus(database)
  const ignore = (): void => {}
  await bus.start({
    scope: rows[0]?.epoch ?? '',
    clock: systemClock,
    logger: silentLogger,
    events: ignore,
    transients: ignore,
    heads: ignore,
    missed: ignore,
  })
  bus.publish(
    ids.map((operationId, index) => ({
      channel: phantoms,
      offset: index + 1,
      operationId,
      type: 'noted',
      data: '{"n":1}',
      at: new Date(),
    })),
  )
  await Promise.all(ears.map((ear) => allOf(ear, phantoms, ids.length)))
  await bus.close()
  return ids
}

/** A hub that mixes up two people: one hears what is for the other, whose rollbacks are told as they should be. */
async function plantExposures(site: Site, count: number): Promise<readonly string[]> {
  const join = Object.getOwnPropertyDescriptor(EventHub.prototype, 'join') ?? {}
  const original = join.value as EventHub['join']
  const value: EventHub['join'] = function (this: EventHub, channel, request, subscriber) {
    return original.call(this, channel === 'user:eve' ? 'user:bob' : channel, request, subscriber)
  }
  Object.defineProperty(EventHub.prototype, 'join', { ...join, value })
  const eve = await hear(site, 'eve', [])
  Object.defineProperty(EventHub.prototype, 'join', join)
  const ids = newIds(count)
  await call(ids, (id) => site.application.note.call({ room: 'r0', n: 1, fail: true }, { id, user: 'bob' }))
  await figuresOnce(site.http, ({ violations: { counts } }) => counts.isolation >= count)
  eve.client.disconnect()
  return ids
}

interface Ear {
  readonly client: Centrifuge
  /** Channel by channel as they came. */
  readonly heard: Arrivals<string>
}

async function hear({ http }: Site, user: string, channels: readonly string[]): Promise<Ear> {
  const heard = new Arrivals<string>()
  const client = new Centrifuge(`${http.replace('http', 'ws')}/lockstep/ws`, {
    websocket: WebSocket,
    getToken: () => signToken(secret, user, 3_600),
  })
  client.connect()
  await client.ready()
  for (const channel of channels) {
    const subscription = client.newSubscription(channel, { recoverable: true, positioned: true })
    subscription.on('publication', () => heard.add(channel))
    subscription.subscribe()
    await subscription.ready()
  }
  return { client, heard }
}

function allOf({ heard }: Ear, channel: string, count: number): Promise<void> {
  return heard.until((items) => items.filter((item) => item === channel).length >= count, `all of ${channel}`)
}

/** Runs the work for all ids in their order, at most `atOnce` at a time. */
async function call(ids: readonly string[], work: (id: string) => Promise<unknown>): Promise<void> {
  const waiting = [...ids]
  const worker = async (): Promise<void> => {
    for (let id = waiting.shift(); id !== undefined; id = waiting.shift()) await work(id)
  }
  await Promise.all(Array.from({ length: atOnce }, worker))
}

function newIds(count: number): string[] {
  return Array.from({ length: count }, () => newOperationId())
}

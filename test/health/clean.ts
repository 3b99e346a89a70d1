import pg from 'pg'
import type { Checks } from './checks.ts'
import { ChildNode } from './child-node.ts'
import { figuresOnce, shownCounts, sumOf } from './figures.ts'
import { listenToAll } from './listeners.ts'
import type { LoadResult } from './load.ts'

const rooms = 300
const perNode = 425
/** Number of users who call; some of them have a connection, some have none. */
const users = 13
/** Share of the measurements that may be dropped: a client's answer may take too long to say anything. */
const mostUnwatched = 0.001
/** A node that answers slower than that has no processor to itself, and its gaps show that. */
const overloadedMs = 250

/** Coordinated operations on two nodes, heard on both: nothing may be found, and everything must be counted. */
export async function checkCleanRun(checks: Checks, databaseUrl: string, operations: number): Promise<void> {
  console.log(`a clean run of ${operations} operations on two nodes`)
  const nodes = [await ChildNode.start(databaseUrl), await ChildNode.start(databaseUrl)]
  const listeners = await Promise.all(nodes.map(({ http }, n) => listenToAll(http, rooms, n * 10)))
  const load = { perSecond: perNode, rooms, users, failEvery: 50 }
  const shares = [Math.floor(operations / 2), Math.ceil(operations / 2)]
  const results = await Promise.all(
    nodes.map((node, n) => node.load({ ...load, operations: shares[n] ?? 0 })),
  )
  results.forEach(sayLoad(checks))
  const sum = (of: (result: LoadResult) => number): number => results.reduce((all, one) => all + of(one), 0)
  const [committed, rolledBack] = [sum((one) => one.committed), sum((one) => one.rolledBack)]
  const http = nodes[0]?.http ?? ''
  const deliveries = committed * nodes.length
  const toTell = listeners
    .flatMap((one) => one.users)
    .reduce((all, user) => all + sum(({ rolledBackOf }) => rolledBackOf[user] ?? 0), 0)
  const figures = await figuresOnce(
    http,
    ({ score, gaps }) =>
      score.operations >= operations &&
      gaps.websocket_db_gap.count >= deliveries &&
      gaps.rollback_notice_gap.count >= toTell,
  )
  const outcomes = await outcomesOf(databaseUrl)
  const { gaps, score, unwatched, violations } = figures
  checks.check(
    'every operation had an outcome',
    committed + rolledBack === operations && rolledBack > operations / 60,
    `${committed} committed, ${rolledBack} rolled back ${results.flatMap(({ errors }) => errors).join('; ')}`,
  )
  checks.check(
    'operations in the score are those in the log',
    score.operations === outcomes && outcomes === operations,
    `${score.operations} in the score, ${outcomes} outcomes in lockstep.operations`,
  )
  checks.check('violations', sumOf(violations.counts) === 0, shownCounts(violations.counts))
  const isOverloaded = results.some(({ p99Ms }) => p99Ms > overloadedMs)
  const shownScore = `${score.overall.toFixed(4)}, ${score.unhealthy} unhealthy`
  if (isOverloaded && score.overall < 0.85)
    checks.say(`score not judged, the machine is overloaded: ${shownScore}`)
  else checks.check('score at least 0.85', score.overall >= 0.85, shownScore)
  const measured = Object.values(gaps).reduce((all, { count }) => all + count, 0)
  checks.check(
    `unwatched at most ${mostUnwatched * 100} % of what was measured`,
    unwatched <= measured * mostUnwatched,
    `${unwatched} of ${measured}`,
  )
  checks.check(
    'each event was measured at the sockets of both nodes',
    Math.abs(gaps.websocket_db_gap.count - deliveries) <= unwatched,
    `${gaps.websocket_db_gap.count} of ${deliveries}`,
  )
  checks.check(
    'what was heard from the other node, and acknowledged, was measured too',
    gaps.node_bus_gap.count > committed / 2 && gaps.client_ack_gap.count > 50,
    `bus ${gaps.node_bus_gap.count}, acknowledged ${gaps.client_ack_gap.count}`,
  )
  const heard = listeners.reduce((all, { events }) => all + events, 0)
  checks.check('people on both nodes heard all', heard === deliveries, `${heard} of ${deliveries}`)
  const notices = listeners.reduce((all, { notices: told }) => all + told, 0)
  checks.check(
    'those who were there heard of their rollbacks, and that was measured',
    notices === toTell && gaps.rollback_notice_gap.count === toTell && toTell > 0,
    `${notices} notices and ${gaps.rollback_notice_gap.count} gaps of ${toTell}`,
  )
  for (const [kind, { count, average, p50, p99, max, early, over }] of Object.entries(gaps)) {
    if (count > 0)
      checks.say(
        `${kind}: ${count}, average ${average} ms, p50 ${p50}, p99 ${p99}, max ${max}, early ${early}, over ${over}`,
      )
  }
  await checkAwake(checks, nodes)
  for (const listener of listeners) listener.close()
  await Promise.all(nodes.map((node) => node.stop()))
}

/** A monitor that sleeps finds nothing either: one that was planted last has to be found, on the other node's word. */
async function checkAwake(checks: Checks, [first, second]: readonly ChildNode[]): Promise<void> {
  if (first === undefined || second === undefined) throw new Error('two nodes are needed')
  const id = await first.untold()
  const { violations } = await figuresOnce(second.http, ({ violations: { counts } }) => sumOf(counts) > 0)
  const found = violations.recent.map(({ kind, operationId }) => `${kind} ${operationId}`)
  checks.check(
    'what was planted last is all that is found, on the other node as well',
    found.join() === `missing_rollback_notification ${id}` && sumOf(violations.counts) === 1,
    shownCounts(violations.counts),
  )
  const other = await figuresOnce(first.http, ({ violations: { counts } }) => sumOf(counts) > 0)
  checks.check(
    'both nodes answer the same',
    sumOf(other.violations.counts) === 1,
    `${shownCounts(other.violations.counts)}, score ${other.score.overall.toFixed(4)}`,
  )
}

function sayLoad(checks: Checks): (result: LoadResult, node: number) => void {
  return ({ committed, rolledBack, seconds, p50Ms, p99Ms, slowestPerSecond }, node) => {
    const perSecond = Math.round((committed + rolledBack) / seconds)
    checks.say(
      `node ${node + 1}: ${perSecond} operations/s, at its slowest ${Math.round(slowestPerSecond)}; an answer takes ${p50Ms.toFixed(1)} ms (p50), ${p99Ms.toFixed(1)} ms (p99)`,
    )
  }
}

async function outcomesOf(databaseUrl: string): Promise<number> {
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  const { rows } = await client.query<{ count: number }>(
    `select count(*)::int as count from lockstep.operations where name <> '' and state in ('committed', 'rolled_back')`,
  )
  await client.end()
  return rows[0]?.count ?? 0
}

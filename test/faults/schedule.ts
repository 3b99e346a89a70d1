// Schedule of the faults in a run. All choices come from the seed; the moments follow the clock.
import type pg from 'pg'
import type { EmbeddedPostgres } from '../../tools/embedded-postgres/index.ts'
import { faultPoints, runFaultPoints, type FaultPoint } from '../../src/core/fault-point.ts'
import { breakBusLink, killBroker } from './bus-faults.ts'
import { commitFaultName, postgresCrashName, type Weight } from './check-weight.ts'
import type { Cluster, Slot } from './cluster.ts'
import type { ChooseCommitFault, CommitFaultKind } from './commit-faults.ts'
import type { History } from './history.ts'
import type { FaultProxy } from './proxy.ts'
import type { Random } from './random.ts'
import { wait } from './wait.ts'

export interface ScheduleOptions {
  readonly cluster: Cluster
  readonly postgres: EmbeddedPostgres
  /** Connections past the proxy. */
  readonly direct: pg.Pool
  readonly history: History
  readonly random: Random
  readonly weight: Weight
  readonly loadMs: number
  /** Aborts when the faults are over. */
  readonly signal: AbortSignal
}

/** Name of the connections past the proxy, which no fault ends on purpose. */
export const directApplication = 'direct'

/** Surplus of faults over those asked for, since some find nothing to break. */
const margin = 1.35
/** Least pause between two halts, ends or storms. */
const leastPauseMs = 9_000
/** Time in which a process that is the only one does some work between two faults of it. */
const loneServedMs = 3_000
/** Pause between two looks for a node that serves. */
const lookAgainMs = 50
/** Time longer than a lease lives. */
const stopMs = 3_600

/** Names of the faults that every run must have had. */
export const requiredFaults = [
  'sigstop',
  'sigterm',
  'terminate-backend',
  'reconnect-storm',
  'reload',
  ...(['reply-lost', 'dropped', 'slow-commit', 'slow-rollback', 'late-flight'] as const).map(commitFaultName),
]

/** Name, mean interval in milliseconds, and action of a fault. */
type Actor = readonly [string, number, (random: Random) => Promise<void> | void]

/** Runs all faults until the signal aborts. */
export async function runSchedule(options: ScheduleOptions): Promise<void> {
  const { weight, loadMs, random } = options
  const busy = new Set<Slot>()
  // A process that holds all nodes has to live for most of the time.
  const share = Math.min(1, options.cluster.slots.length / 3)
  const inTurn = options.cluster.slots.length > 1 ? atOnce : oneByOne()
  // Rare faults stop the whole load for a while: a short run has fewer of them, or it would do nothing else.
  const rarely = (count: number): number => Math.max(leastPauseMs, loadMs / count)
  const actors: readonly Actor[] = [
    ['kills', loadMs / (weight.kills * margin), (own) => inTurn(() => killOne(options, busy, own))],
    [
      'postgres',
      loadMs / (weight.postgresCrashes * margin),
      (own) => inTurn(() => crashPostgres(options, busy, own)),
    ],
    ['stops', rarely(8) / share, (own) => inTurn(() => stopOne(options, busy, own))],
    ['terminations', rarely(9) / share, (own) => inTurn(() => terminateOne(options, busy, own))],
    ['backends', 2_000, () => terminateBackend(options)],
    ['storms', rarely(10), () => storm(options)],
    ['client leg', 2_500, (own) => breakLink(options, options.cluster.clientLeg, 'client', own)],
    ...busActors(options),
    ['postgres leg', 4_000, (own) => breakLink(options, options.cluster.postgresLeg, 'postgres', own)],
  ]
  await Promise.all(
    actors.map(([name, everyMs, act]) => repeat(options.signal, everyMs, random.fork(name), act)),
  )
}

type Run = (work: () => Promise<void>) => Promise<void>

const atOnce: Run = (work) => work()

/** Runs works one after the other. */
function oneByOne(): Run {
  let last = Promise.resolve()
  return (work) => {
    last = last.then(work)
    return last
  }
}

function busActors(options: ScheduleOptions): readonly Actor[] {
  const { weight, loadMs, cluster } = options
  const every = (count: number): number => loadMs / (count * margin)
  const { brokerKills = 0, blackHoles = 0, stalls = 0 } = weight
  const actors: Actor[] = []
  if (cluster.busLeg.broker !== undefined && brokerKills > 0)
    actors.push(['brokers', every(brokerKills), (own) => killBroker(options, own)])
  if (blackHoles > 0)
    actors.push(['black holes', every(blackHoles), (own) => breakBusLink(options, 'black-hole', own)])
  if (stalls > 0) {
    actors.push(['stalls up', every(stalls), (own) => breakBusLink(options, 'stall-up', own)])
    actors.push(['stalls down', every(stalls), (own) => breakBusLink(options, 'stall-down', own)])
  }
  return actors
}

async function repeat(
  signal: AbortSignal,
  everyMs: number,
  random: Random,
  act: (random: Random) => Promise<void> | void,
): Promise<void> {
  const began = performance.now()
  for (let round = 1; !signal.aborted; round++) {
    const due = began + everyMs * (round - 0.5 + random.next() / 2)
    await wait(Math.max(0, due - performance.now()), signal)
    if (!signal.aborted) await act(random)
  }
}

/** Waits for nodes that serve; returns none when the faults are over. */
async function serving(
  { cluster, signal }: Pick<ScheduleOptions, 'cluster' | 'signal'>,
  busy: ReadonlySet<Slot>,
): Promise<readonly Slot[]> {
  for (;;) {
    const [, ...others] = cluster.slots
    // A node that is alone and has just started is left alone for a while.
    const leastServedMs = others.length > 0 ? 0 : loneServedMs
    const slots = cluster.slots
      .filter(({ node }) => node.port !== undefined && node.servedMs >= leastServedMs)
      .filter((slot) => !busy.has(slot))
    if (slots.length > 0 || signal.aborted) return signal.aborted ? [] : slots
    await wait(lookAgainMs, signal)
  }
}

/** Kills a node at once, or at a fault point; a point that is not passed within two seconds is not waited for. */
async function killOne(options: ScheduleOptions, busy: Set<Slot>, random: Random): Promise<void> {
  const slots = await serving(options, busy)
  if (slots.length === 0) return
  const slot = random.pick(slots)
  const { node } = slot
  if (random.chance(0.5)) {
    // A quarter of these deaths are in the phases of a run, where there are runs; those are passed less often than others.
    const isOfRuns = (options.weight.runs ?? 0) > 0 && random.chance(0.25)
    const point = random.pick<FaultPoint>(isOfRuns ? runFaultPoints : faultPoints)
    const armed = node.arm({
      point,
      action: random.chance(0.9) ? 'kill' : 'throw',
      skip: isOfRuns ? 0 : random.between(0, 4),
    })
    await Promise.race([armed, wait(2_000, options.signal)])
    await Promise.race([node.exited, wait(2_000, options.signal)])
  }
  if (node.port !== undefined && !busy.has(slot)) await node.kill()
}

async function stopOne(options: ScheduleOptions, busy: Set<Slot>, random: Random): Promise<void> {
  const { history, signal } = options
  const slots = await serving(options, busy)
  if (slots.length === 0) return
  const slot = random.pick(slots)
  busy.add(slot)
  history.add({ kind: 'fault', fault: 'sigstop', detail: `node ${slot.index}` })
  slot.node.signal('SIGSTOP')
  await wait(stopMs, signal)
  slot.node.signal('SIGCONT')
  busy.delete(slot)
}

async function terminateOne(options: ScheduleOptions, busy: Set<Slot>, random: Random): Promise<void> {
  const slots = await serving(options, busy)
  if (slots.length === 0) return
  const slot = random.pick(slots)
  const { node } = slot
  options.history.add({ kind: 'fault', fault: 'sigterm', detail: `node ${slot.index}` })
  node.signal('SIGTERM')
  // A node whose database is away takes longer to end than this lane waits for.
  await Promise.race([node.exited, wait(8_000, options.signal)])
  if (!node.gone) await node.kill()
}

async function crashPostgres(options: ScheduleOptions, busy: Set<Slot>, random: Random): Promise<void> {
  const { postgres, history } = options
  if ((await serving(options, busy)).length === 0) return
  const kill = random.chance(0.5)
  history.add({ kind: 'fault', fault: `${postgresCrashName}/${kill ? 'kill' : 'immediate'}` })
  await (kill ? postgres.kill() : postgres.stop('immediate'))
  await postgres.restart()
}

async function terminateBackend({ direct, history }: ScheduleOptions): Promise<void> {
  try {
    const { rows } = await direct.query(
      `select pid, pg_terminate_backend(pid) from pg_stat_activity
       where datname = current_database() and pid <> pg_backend_pid() and application_name <> '${directApplication}'
       order by random() limit 1`,
    )
    if (rows.length > 0) history.add({ kind: 'fault', fault: 'terminate-backend' })
  } catch {
    // The database is away just now.
  }
}

function storm({ cluster, history }: ScheduleOptions): void {
  history.add({
    kind: 'fault',
    fault: 'reconnect-storm',
    detail: `${cluster.clientLeg.links.size} connections`,
  })
  for (const link of cluster.clientLeg.links) link.reset('both')
}

async function breakLink(
  { history, signal }: ScheduleOptions,
  leg: FaultProxy,
  name: 'client' | 'postgres',
  random: Random,
): Promise<void> {
  const links = [...leg.links]
  if (links.length === 0) return
  const link = random.pick(links)
  const how = random.pick(['slice', 'delay', 'stall-up', 'stall-down', 'black-hole', 'reset'] as const)
  history.add({ kind: 'fault', fault: `${name}-leg/${how}` })
  if (how === 'slice') link.slice()
  else if (how === 'delay') link.delay(random.between(5, 60))
  else if (how === 'stall-up') link.stall('up')
  else if (how === 'stall-down') link.stall('down')
  else if (how === 'black-hole') link.blackHole()
  else link.reset('both')
  await wait(random.between(200, 2_000), signal)
  link.heal()
}

const rotation: readonly CommitFaultKind[] = [
  'reply-lost',
  'dropped',
  'slow-commit',
  'slow-rollback',
  'reply-lost',
  'late-flight',
  'delayed',
]

/** Breaks the COMMITs of operations, at a steady rate, one kind after the other. */
export function scheduleCommitFaults(
  options: Pick<ScheduleOptions, 'history' | 'random' | 'weight' | 'loadMs' | 'signal'>,
): ChooseCommitFault {
  const { history, weight, loadMs, signal } = options
  const random = options.random.fork('commits')
  const everyMs = loadMs / ((weight.lostCommits * margin * rotation.length) / 3)
  const began = performance.now()
  let given = 0
  return (id) => {
    if (signal.aborted || performance.now() < began + given * everyMs) return undefined
    const kind = rotation[given % rotation.length] ?? 'reply-lost'
    given += 1
    history.add({ kind: 'fault', fault: commitFaultName(kind), id })
    return { kind, delayMs: random.between(30, random.chance(0.3) ? 1_600 : 300) }
  }
}

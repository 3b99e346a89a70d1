// Driver of a run under faults: users who call operations, subscribers who listen, faults by the clock, and a verdict.
import { setMaxListeners } from 'node:events'
import { setTimeout as pause } from 'node:timers/promises'
import pg from 'pg'
import { signToken } from '../../src/index.ts'
import { newOperationId } from '../../src/client/index.ts'
import { startOwnPostgres } from '../support/postgres.ts'
import { Caller, type Plan } from './caller.ts'
import { check, type Violation } from './checker.ts'
import { countRun, type Counts, type Weight } from './check-weight.ts'
import type { BusKind } from './bus-leg.ts'
import { createCluster, secret, type Cluster, type ClusterOptions } from './cluster.ts'
import { CompactHistory } from './compact-history.ts'
import { openCrowd } from './crowd.ts'
import { createHistory, type History } from './history.ts'
import { loadJobs } from './job-load.ts'
import { readOracle } from './oracle.ts'
import { halls, rooms } from './places.ts'
import { seeded, type Random } from './random.ts'
import { awaitRecovery } from './recovery.ts'
import { directApplication, requiredFaults, runSchedule, scheduleCommitFaults } from './schedule.ts'
import { Subscriber } from './subscriber.ts'

export interface RunOptions {
  readonly bundle: string
  readonly seconds: number
  readonly seed: number
  readonly weight: Weight
  readonly bus: BusKind
  /** Subscribers to wide channels, beside those of the few users who call. Default 0. */
  readonly subscribers: number
  readonly historyPath: string
  readonly logPath: string
}

export interface RunResult {
  readonly counts: Counts
  readonly violations: readonly Violation[]
  readonly recoveredAfterMs: number
}

const nodes = 3
const users = 12
/** Part of the time given that start, recovery and verdict take. */
const overheadMs = 25_000
const maxOpenPerCaller = 24
/** Room in which every caller calls once when all faults are over: a healthy node commits then. */
const probeRoom = rooms[0] ?? ''

export async function runFaults(options: RunOptions): Promise<RunResult> {
  const random = seeded(options.seed)
  const history = createHistory(options.historyPath)
  const weight: Weight = { ...options.weight, faults: requiredFaults }
  const loadMs = Math.max(5_000, options.seconds * 1_000 - overheadMs)
  const faults = new AbortController()
  // Every actor of the schedule listens.
  setMaxListeners(0, faults.signal)
  const timing = { history, weight, loadMs, signal: faults.signal, random }
  const { server: postgres, close: closePostgres } = await startOwnPostgres()
  const cleanups: (() => Promise<void>)[] = [closePostgres]
  try {
    const cluster = await createCluster({
      bundle: options.bundle,
      nodes,
      history,
      serverUrl: postgres.url,
      database: 'faults',
      ...nodeOptions(options),
      chooseCommitFault: scheduleCommitFaults(timing),
      logFile: options.logPath,
    })
    cleanups.push(() => cluster.close())
    const direct = new pg.Pool({
      connectionString: cluster.directUrl,
      max: 4,
      application_name: directApplication,
    })
    direct.on('error', () => {})
    cleanups.push(() => direct.end())
    const people = await openPeople({ cluster, history, direct, random: random.fork('reads') })
    const gathered = new CompactHistory(history)
    const crowd = await openCrowd({ cluster, history: gathered, size: options.subscribers })
    const deliveries = (): number => gathered.deliveries
    const schedule = runSchedule({ ...timing, cluster, postgres, direct })
    // Awaited below; a schedule that breaks must not end the driver before it has cleaned up.
    schedule.catch(() => {})
    const jobs = loadJobs({ cluster, history, random: random.fork('jobs'), runs: weight.runs ?? 0, loadMs })
    const calls = await load({ people, history, random: random.fork('load'), weight, loadMs, deliveries })
    await jobs
    faults.abort()
    await schedule
    await cluster.heal()
    history.add({ kind: 'healed' })
    await Promise.all(people.callers.map((caller) => caller.call(newOperationId(), { rooms: [probeRoom] })))
    const recoveredAfterMs = await awaitRecovery({
      history,
      direct,
      callers: people.callers,
      subscribers: [...people.subscribers, ...crowd],
    })
    for (const person of [...people.callers, ...people.subscribers, ...crowd]) person.close()
    gathered.flush()
    history.add({ kind: 'bus', bytesHeard: cluster.busLeg.bytesHeard })
    await Promise.all(calls)
    const oracle = await readOracle(cluster.directUrl)
    const violations = check({ history: history.lines, oracle, weight })
    return { counts: countRun(history.lines, oracle), violations, recoveredAfterMs }
  } finally {
    faults.abort()
    for (const cleanup of cleanups.toReversed()) await cleanup()
    await history.close()
  }
}

/** Options of the nodes. A crowd tests the bus, so the nodes rely on it as much as they do by default. */
function nodeOptions({ bus, subscribers }: RunOptions): Pick<ClusterOptions, 'config' | 'bus'> {
  if (subscribers > 0) return { bus, config: { log: true } }
  return { ...(bus === 'postgres' ? {} : { bus }), config: { headCheckMs: 250, log: true } }
}

interface People {
  readonly callers: readonly Caller[]
  /** Second device of each caller's user, in the callers' order. */
  readonly subscribers: readonly Subscriber[]
}

async function openPeople(options: {
  readonly cluster: Cluster
  readonly history: History
  readonly direct: pg.Pool
  readonly random: Random
}): Promise<People> {
  const { cluster, history, direct, random } = options
  const callers: Caller[] = []
  const subscribers: Subscriber[] = []
  for (let index = 0; index < users; index++) {
    const user = `user${index}`
    const common = { user, url: cluster.url, token: await signToken(secret, user, 3_600), history }
    callers.push(new Caller({ ...common, name: `caller${index}` }))
    const name = `subscriber${index}`
    const onEvent = (event: { readonly id: string; readonly channel: string }): void => {
      if (event.channel.startsWith('room:') && random.chance(0.03))
        void readBack(direct, history, name, event.id)
    }
    const own = rooms.filter((_, place) => (place + index) % 3 === 0)
    subscribers.push(new Subscriber({ ...common, name, rooms: own, onEvent }))
  }
  await Promise.all(subscribers.map((subscriber) => subscriber.ready()))
  return { callers, subscribers }
}

/** Reads the operation's row for a subscriber who has just received its event. */
async function readBack(direct: pg.Pool, history: History, subscriber: string, id: string): Promise<void> {
  try {
    const { rowCount } = await direct.query('select from effects where operation_id = $1', [id])
    history.add({ kind: 'read', subscriber, id, found: rowCount !== 0 })
  } catch {
    // The database is away just now, so there was no read.
  }
}

interface LoadOptions {
  readonly people: People
  readonly history: History
  readonly random: Random
  readonly weight: Weight
  readonly loadMs: number
  /** Deliveries to the crowd so far. */
  readonly deliveries: () => number
}

/**
 * Calls at a steady rate; what an outage held up is caught up with. Resolves at the end of the time, or, on a machine
 * too busy for the rate, when enough has been called and delivered, at most half of the time later,
 * or with a crowd as much time again.
 */
async function load({
  people,
  history,
  random,
  weight,
  loadMs,
  deliveries,
}: LoadOptions): Promise<readonly Promise<void>[]> {
  const began = performance.now()
  const everyMs = loadMs / (weight.operations * 1.3)
  const isWide = weight.deliveries !== undefined
  const calls: Promise<void>[] = []
  let reloads = 0
  for (let made = 0; ;) {
    const now = performance.now() - began
    const isDone = made >= weight.operations && deliveries() >= (weight.deliveries ?? 0)
    const isEnough = isDone || now >= loadMs * (isWide ? 2 : 1.5)
    if (now >= loadMs && isEnough) return calls
    if (now > (reloads + 1) * 1_500) {
      reloads += 1
      random.pick(people.callers).reload()
      history.add({ kind: 'fault', fault: 'reload' })
    }
    const free = people.callers.flatMap((caller, index) =>
      // A crowd is there for deliveries, and a call that cannot arrive delivers nothing.
      caller.openCount < maxOpenPerCaller && (caller.isConnected || !isWide) ? [index] : [],
    )
    if (free.length === 0 || made * everyMs > now) {
      await pause(2)
      continue
    }
    made += 1
    const index = random.pick(free)
    calls.push(callOnce(people.callers[index], people.subscribers[index], { random, isWide }))
  }
}

async function callOnce(
  caller: Caller | undefined,
  device: Subscriber | undefined,
  { random, isWide }: { readonly random: Random; readonly isWide: boolean },
): Promise<void> {
  const id = newOperationId()
  const plan = planOperation(random, isWide)
  const copies = random.next()
  const call = caller?.call(id, plan)
  if (copies < 0.05) await device?.copy(id, plan)
  else if (copies < 0.07) await device?.copy(id, { ...plan, note: 'another input' })
  await call
  if (copies > 0.97) await device?.copy(id, plan)
}

/**
 * Draws the places and the ending of an operation.
 * @param isWide whether most of its events go to many listeners each
 */
function planOperation(random: Random, isWide: boolean): Plan {
  const pick = (places: readonly string[], least: number, most: number): readonly string[] =>
    Array.from({ length: random.between(least, most) }, () => random.pick(places))
  const chosen = isWide ? [random.pick(rooms), ...pick(halls, 6, 12)] : pick(rooms, 1, 3)
  const fails = random.next()
  return {
    rooms: chosen,
    ...(fails < 0.04 ? { fail: 'throw' as const } : {}),
    ...(fails >= 0.04 && fails < 0.07 ? { fail: 'constraint' as const } : {}),
    ...(fails >= 0.07 && fails < 0.1 ? { fail: 'deferred' as const } : {}),
    ...(fails >= 0.1 && fails < 0.12 ? { fail: 'conflict' as const } : {}),
    ...(random.chance(0.03) ? { nested: random.pick(['transaction', 'savepoint'] as const) } : {}),
    ...(random.chance(0.2) ? { promise: `promises:${random.between(1, 3)}` } : {}),
    ...(random.chance(0.03) ? { holdMs: random.between(20, 600) } : {}),
  }
}

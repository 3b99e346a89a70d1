import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { startOwnPostgres } from '../support/postgres.ts'
import { AbuserProcess } from './abuser-process.ts'
import { Crowd, type Measured } from './crowd.ts'
import { deedsSince, deedsSum, noDeeds, shownDeeds, type Deeds } from './deeds.ts'
import { LeaseWatch } from './lease-watch.ts'
import { NodeProcess, type NodeState } from './node-process.ts'
import { LoopLag, shownShares, Usage, type Shares } from './usage.ts'

export interface TrialOptions {
  readonly sockets: number
  /** Pairs of a calm window and a stormy one. */
  readonly rounds: number
  /** Length of one calm window, in milliseconds. */
  readonly calmMs: number
  readonly stormMs: number
  /** Time in which the abusers must have filled every limit. */
  readonly fillMs: number
  /** Folder for profiles of the nodes. */
  readonly profiles?: string | undefined
}

export interface Check {
  readonly name: string
  /** Set for what says that the run was one, and not how the nodes did. */
  readonly isOfRun?: boolean
  readonly holds: boolean
  readonly shown: string
}

export interface Verdict {
  readonly checks: readonly Check[]
  /** Reasons why the run shows nothing, whatever the checks say. */
  readonly invalid: readonly string[]
}

const callsPerSecond = 200
/** Bound of the latency in a storm, as a multiple of the calm p99. */
const mostTimesSlower = 5
const nodeCount = 2
const poolSize = 10
const warmUpMs = 8_000
/** How late the driver may send and read, 99th percentile, so that what it measures is the nodes' doing. */
const mostLateMs = 20
/**
 * Share of the machine that other processes may use: with more, times are compared only with the calm ones of the same
 * minute.
 */
const mostByOthers = 0.1
/** Time in which all work must have ended that was begun. */
const idleMs = 30_000

/** A window of the run. */
interface Phase {
  readonly measured: Measured
  readonly loopLagMs: number
  readonly shares: Shares
  readonly states: readonly NodeState[]
}

/** Two nodes, a crowd, and then the abusers. */
export class FairnessTrial {
  readonly #options: TrialOptions

  constructor(options: TrialOptions) {
    this.#options = options
  }

  async run(bundle: string): Promise<Verdict> {
    // The disk is shared with whatever else runs on the machine, and users do not compete for it in any way of Lockstep's.
    const postgres = await startOwnPostgres({ durable: false })
    const db = new pg.Pool({ connectionString: postgres.server.url, max: 2 })
    const nodes: NodeProcess[] = []
    try {
      await db.query('create table sends (usr text not null, room text not null, n int not null)')
      const secret = randomBytes(32).toString('base64url')
      const env = {
        FAIRNESS_DATABASE_URL: postgres.server.url,
        FAIRNESS_SECRET: secret,
        FAIRNESS_POOL: String(poolSize),
        ...(this.#options.profiles === undefined ? {} : { FAIRNESS_PROFILES: this.#options.profiles }),
      }
      for (let n = 0; n < nodeCount; n += 1) nodes.push(await NodeProcess.start(bundle, env))
      return await this.#play({ db, nodes, env, secret, postgresPid: postgres.server.pid })
    } finally {
      for (const node of nodes) node.kill()
      await db.end()
      await postgres.close()
    }
  }

  async #play(world: World): Promise<Verdict> {
    const { sockets, rounds, calmMs, stormMs, fillMs, profiles } = this.#options
    const { db, nodes, env, secret } = world
    const ports = nodes.map(({ port }) => port)
    const users = Math.ceil(sockets / 5)
    const crowd = await Crowd.open({ ports, secret, sockets, users, rooms: Math.ceil(sockets / 10) })
    const names = (await statesOf(nodes)).map(({ node }) => node)
    const watch = new LeaseWatch(db, names)
    const lag = new LoopLag()
    let abusers: AbuserProcess | undefined
    const phase = async (forMs: number): Promise<Phase> => {
      const usage = new Usage(
        new Map([
          ['driver', [process.pid]],
          ['nodes', nodes.map(({ pid }) => pid)],
          ['postgres', [world.postgresPid]],
          ['abusers', abusers === undefined ? [] : [abusers.pid]],
        ]),
      )
      lag.lap()
      await statesOf(nodes)
      const measured = await crowd.call(callsPerSecond, forMs)
      return { measured, loopLagMs: lag.lap(), shares: usage.lap(), states: await statesOf(nodes) }
    }
    try {
      // Code that the processes compile at first belongs to no calm.
      await crowd.call(callsPerSecond, warmUpMs)
      const profile = async (): Promise<void> => {
        if (profiles !== undefined) await Promise.all(nodes.map((node) => node.profile()))
      }
      const [calms, storms, invalid]: [Phase[], Phase[], string[]] = [[], [], []]
      let deeds: Deeds = noDeeds()
      for (let round = 1; round <= rounds; round += 1) {
        const calm = await phase(calmMs)
        show('calm ', calm)
        abusers = AbuserProcess.start({ ...env, FAIRNESS_PORTS: ports.join(',') })
        // Calls that come while the limits are being filled are not measured.
        const hasBegun = await abusers.begun(fillMs)
        await profile()
        const before = await abusers.deeds()
        if (!hasBegun)
          invalid.push(`the abusers had not filled every limit after ${fillMs} ms: ${shownDeeds(before)}`)
        const storm = await phase(stormMs)
        deeds = deedsSum(deeds, deedsSince(before, await abusers.deeds()))
        show('storm', storm)
        await profile()
        abusers.kill()
        abusers = undefined
        calms.push(calm)
        storms.push(storm)
        // Wait until the abusers' calls have ended: before that it is not calm again.
        await Promise.all(nodes.map((node) => node.idle(idleMs)))
      }
      const looks = await watch.end()
      const checks = [
        ...checksOf(calms, storms, deeds),
        {
          name: 'no socket of theirs was closed',
          holds: crowd.closed === 0,
          shown: `${crowd.closed} of ${sockets}`,
        },
        {
          name: 'no node lost its lease',
          holds: looks.lost === 0 && looks.count > (rounds * stormMs) / 1_000,
          shown: `${looks.count} looks, ${looks.lost} without it`,
        },
        await whatStaysOpen(nodes),
        await whatWasNotTold(db),
      ]
      invalid.push(...invalidities([...calms, ...storms]))
      return { checks, invalid }
    } finally {
      abusers?.kill()
      await watch.end()
      crowd.close()
    }
  }
}

interface World {
  readonly db: pg.Pool
  readonly nodes: readonly NodeProcess[]
  readonly env: NodeJS.ProcessEnv
  readonly secret: string
  readonly postgresPid: number
}

function statesOf(nodes: readonly NodeProcess[]): Promise<readonly NodeState[]> {
  return Promise.all(nodes.map((node) => node.state()))
}

function shownOf({ calls, p50, p99, max, others }: Measured): string {
  return (
    `${calls} calls, p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms, longest ${max.toFixed(0)} ms` +
    [...others].map(([answer, count]) => `, ${count} × ${answer}`).join('')
  )
}

function show(name: string, phase: Phase | undefined): void {
  if (phase === undefined) return
  const { measured, loopLagMs, shares, states } = phase
  console.log(`  ${name}  ${shownOf(measured)}`)
  console.log(`         processors: ${shownShares(shares)}`)
  const nodes = states.map(
    (node) => `${node.loopLagMs.toFixed(0)} ms (${node.waiting} wait, ${node.refused} refused)`,
  )
  console.log(
    `         late, p99: driver ${loopLagMs.toFixed(1)} ms, its calls ${measured.lateMs.toFixed(1)} ms, nodes ${nodes.join(', ')}`,
  )
}

function checksOf(calms: readonly Phase[], storms: readonly Phase[], deeds: Deeds): readonly Check[] {
  // Compares each storm with the calm before it, since the other work on the machine changes from minute to minute.
  const times = storms
    .map(({ measured }, n) => measured.p99 / (calms[n]?.measured.p99 ?? 0))
    .toSorted((a, b) => a - b)
  // The higher of two in the middle: an even number of rounds must not look better than an odd one.
  const middle = times[Math.floor(times.length / 2)] ?? Infinity
  const megabytes = storms.flatMap(({ states }) => states.map(({ rss }) => Math.round(rss / 1e6)))
  const refused = storms.filter(({ measured }) => measured.others.size > 0)
  return [
    {
      name: 'other users’ operations are accepted',
      holds: refused.length === 0,
      shown:
        refused.length === 0
          ? `all ${storms.reduce((sum, { measured }) => sum + measured.calls, 0)}`
          : refused.map(({ measured }) => shownOf(measured)).join('; '),
    },
    {
      name: `their p99 stays within ${mostTimesSlower} × of the calm one`,
      holds: middle <= mostTimesSlower,
      shown: `${middle.toFixed(2)} × (${times.map((each) => each.toFixed(2)).join(', ')})`,
    },
    {
      name: 'memory stays bounded',
      holds: megabytes.every((each) => each < 900),
      shown: `${megabytes.join(', ')} MB`,
    },
    {
      name: 'the storm was one',
      isOfRun: true,
      holds:
        deeds.calls.served > 500 &&
        deeds.slow.served >= 10 &&
        deeds.failures.served > 100 &&
        deeds.questions.served > 10 &&
        deeds.subscribes.served > 500 &&
        // Sockets that read nothing were each filled to their bound, and cut by the server.
        deeds.unread.served >= 3 &&
        deeds.calls.refused + deeds.slow.refused + deeds.failures.refused > 100,
      shown: shownDeeds(deeds),
    },
  ]
}

/**
 * Finds reasons why a run is invalid: on a machine that others use, the driver is late because of them, in the calm as
 * in the storm.
 */
function invalidities(phases: readonly Phase[]): string[] {
  const own = phases.filter(({ shares }) => shares.others <= mostByOthers)
  if (own.length < phases.length)
    console.log(
      `  others took more than ${100 * mostByOthers} % of the machine in ${phases.length - own.length} of ${phases.length} windows: judged by ratio`,
    )
  return own
    .filter(({ measured, loopLagMs }) => measured.lateMs > mostLateMs || loopLagMs > mostLateMs)
    .map(
      ({ measured, loopLagMs }) =>
        `the driver was late itself: its calls ${measured.lateMs.toFixed(1)} ms, its loop ${loopLagMs.toFixed(1)} ms (99th percentiles, at most ${mostLateMs})`,
    )
}

/** Checks that every operation the abusers had open comes to an end. */
async function whatStaysOpen(nodes: readonly NodeProcess[]): Promise<Check> {
  const open = await Promise.all(nodes.map((node) => node.idle(idleMs)))
  return { name: 'nothing stays open', holds: open.every((count) => count === 0), shown: open.join(', ') }
}

async function whatWasNotTold(db: pg.Pool): Promise<Check> {
  const { rows } = await db.query<{ count: number }>(
    `select count(*)::int as count from lockstep.operations o
     where o.state = 'rolled_back' and o.name <> '' and not exists (
       select from lockstep.events e where e.channel = 'user:' || o.user_id and e.operation_id = o.id)`,
  )
  const count = rows[0]?.count
  return { name: 'every rollback was notified', holds: count === 0, shown: `${count} without a notice` }
}

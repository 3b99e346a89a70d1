import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { startOwnPostgres } from '../support/postgres.ts'
import { AbuserProcess } from './abuser-process.ts'
import { shownStandstills, StandstillWatch, type Trace } from './call-trace.ts'
import { Crowd } from './crowd.ts'
import { DatabaseWatch } from './database-watch.ts'
import { deedsSince, shownDeeds, type Storm } from './deeds.ts'
import { LeaseWatch } from './lease-watch.ts'
import { NodeProcess, type NodeState } from './node-process.ts'
import { LoopLag, Usage } from './usage.ts'
import { checksOf, invalidities, show, shownTraces, type Check, type Phase, type Round } from './verdict.ts'

export interface TrialOptions {
  readonly sockets: number
  /** Length of one calm window, in milliseconds. */
  readonly calmMs: number
  readonly stormMs: number
  /** Time in which the abusers must all be at work. */
  readonly fillMs: number
  /** Folder for profiles of the nodes. */
  readonly profiles?: string | undefined
  /** Whether to show where the time of the slowest calls went. */
  readonly isTraced?: boolean
}

export interface Verdict {
  readonly checks: readonly Check[]
  /** Reasons why the run shows nothing, whatever the checks say. */
  readonly invalid: readonly string[]
}

const callsPerSecond = 200
const nodeCount = 2
const poolSize = 10
const warmUpMs = 8_000
/** Time in which all work must have ended that was begun. */
const idleMs = 30_000

/** Two nodes, a crowd, and then the abusers. */
export class FairnessTrial {
  readonly #options: TrialOptions

  constructor(options: TrialOptions) {
    this.#options = options
  }

  /** @param storms played one after the other, each behind a calm window */
  async run(bundle: string, storms: readonly Storm[]): Promise<Verdict> {
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
        ...(this.#options.isTraced === true ? { FAIRNESS_TRACE: '1' } : {}),
        ...(this.#options.profiles === undefined ? {} : { FAIRNESS_PROFILES: this.#options.profiles }),
      }
      for (let n = 0; n < nodeCount; n += 1) nodes.push(await NodeProcess.start(bundle, env))
      return await this.#play({ db, nodes, env, secret, postgresPid: postgres.server.pid }, storms)
    } finally {
      for (const node of nodes) node.kill()
      await db.end()
      await postgres.close()
    }
  }

  async #play(world: World, storms: readonly Storm[]): Promise<Verdict> {
    const { sockets, stormMs } = this.#options
    const { db, nodes, secret } = world
    const ports = nodes.map(({ port }) => port)
    const users = Math.ceil(sockets / 5)
    const crowd = await Crowd.open({ ports, secret, sockets, users, rooms: Math.ceil(sockets / 10) })
    const names = (await statesOf(nodes)).map(({ node }) => node)
    const watch = new LeaseWatch(db, names)
    const gauge = new Gauge(world, crowd, this.#options.isTraced === true)
    try {
      // Code that the processes compile at first belongs to no calm.
      await crowd.call(callsPerSecond, warmUpMs)
      const invalid: string[] = []
      const rounds: Round[] = []
      for (const storm of storms) rounds.push(await this.#round(world, storm, gauge, invalid))
      const looks = await watch.end()
      const checks = [
        ...checksOf(rounds),
        {
          name: 'no socket of theirs was closed',
          holds: crowd.closed === 0,
          shown: `${crowd.closed} of ${sockets}`,
        },
        {
          name: 'no node lost its lease',
          holds: looks.lost === 0 && looks.count > (storms.length * stormMs) / 1_000,
          shown: `${looks.count} looks, ${looks.lost} without it`,
        },
        await whatStaysOpen(nodes),
        await whatWasNotTold(db),
      ]
      return { checks, invalid: [...invalid, ...invalidities(rounds)] }
    } finally {
      await watch.end()
      crowd.close()
    }
  }

  async #round(world: World, storm: Storm, gauge: Gauge, invalid: string[]): Promise<Round> {
    const { calmMs, stormMs, fillMs, profiles } = this.#options
    const { nodes, env } = world
    const profile = async (): Promise<void> => {
      if (profiles !== undefined) await Promise.all(nodes.map((node) => node.profile()))
    }
    const calm = await gauge.measure(calmMs)
    show('calm', calm)
    const ports = nodes.map(({ port }) => port)
    const abusers = AbuserProcess.start(storm, { ...env, FAIRNESS_PORTS: ports.join(',') })
    try {
      // Calls that come in the first rush are not measured.
      const hasBegun = await abusers.begun(fillMs)
      await profile()
      const before = await abusers.deeds()
      if (!hasBegun) invalid.push(`the abusers were not at work after ${fillMs} ms: ${shownDeeds(before)}`)
      const stormy = await gauge.measure(stormMs, abusers)
      const deeds = deedsSince(before, await abusers.deeds())
      show(storm, stormy, deeds)
      await profile()
      return { storm, calm, stormy, deeds }
    } finally {
      abusers.kill()
      // Wait until the abusers' calls have ended: before that it is not calm again.
      await Promise.all(nodes.map((node) => node.idle(idleMs)))
    }
  }
}

/** Measures windows of a run. */
class Gauge {
  readonly #world: World
  readonly #crowd: Crowd
  readonly #lag = new LoopLag()
  readonly #standstills: StandstillWatch | undefined

  constructor(world: World, crowd: Crowd, isTraced: boolean) {
    this.#world = world
    this.#crowd = crowd
    this.#standstills = isTraced ? new StandstillWatch() : undefined
  }

  async measure(forMs: number, abusers?: AbuserProcess): Promise<Phase> {
    const { nodes, postgresPid } = this.#world
    const usage = new Usage(
      new Map([
        ['driver', [process.pid]],
        ['nodes', nodes.map(({ pid }) => pid)],
        ['postgres', [postgresPid]],
        ['abusers', abusers === undefined ? [] : [abusers.pid]],
      ]),
    )
    this.#lag.lap()
    await statesOf(nodes)
    const trace = await this.#startTrace()
    const measured = await this.#crowd.call(callsPerSecond, forMs)
    const phase = {
      measured,
      loopLagMs: this.#lag.lap(),
      shares: usage.lap(),
      states: await statesOf(nodes),
    }
    if (trace === undefined) return phase
    const driver = `driver: ${shownStandstills(trace.standstills.lap())}`
    const own = `${driver}\nconnections, on average: ${trace.database.end()}`
    return { ...phase, traced: shownTraces(measured, await tracesOf(nodes), own) }
  }

  async #startTrace(): Promise<{ standstills: StandstillWatch; database: DatabaseWatch } | undefined> {
    const standstills = this.#standstills
    if (standstills === undefined) return undefined
    standstills.lap()
    await tracesOf(this.#world.nodes)
    return { standstills, database: new DatabaseWatch(this.#world.db) }
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

function tracesOf(nodes: readonly NodeProcess[]): Promise<readonly Trace[]> {
  return Promise.all(nodes.map((node) => node.trace()))
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

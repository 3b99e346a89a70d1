// The world of a pass: a real database, a real HTTP server with its sockets, the application in one mode, and the
// witness who looks on from outside.
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import pg from 'pg'
import {
  createLockstep,
  fromPool,
  newOperationId,
  silentLogger,
  type Database,
  type Lockstep,
  type Mode,
  type SqlClient,
} from '../../src/index.ts'
import { agentStep, type Application, defineApplication, eventsOf, fence, tables } from './application.ts'
import { judge, type Facts, type Measure, type Verdict } from './judge.ts'
import { readOutsideClock, type OutsideClock } from './outside-clock.ts'
import { Person } from './person.ts'
import { SlowStep } from './slow-step.ts'
import { websocketThresholdMs } from './targets.ts'
import { Witness } from './witness.ts'
import { within } from './within.ts'

const secret = 'a secret of the issue 370 suite, 32 bytes'

/**
 * Operation that is rolled back without a notice in any mode: the monitor has to find it, so that its silence means
 * something.
 */
const sentinel = 'sentinel'

/** Operation that a person asked for. */
export interface Asked {
  readonly operationId: string
  readonly name: string
  readonly user: string
  /** Outcome as the caller heard it. */
  outcome?: 'committed' | 'rolled_back'
  result?: unknown
}

export class Stage {
  readonly mode: Mode
  readonly lockstep: Lockstep<SqlClient>
  readonly conversation: Application['conversation']
  readonly slowStep: SlowStep
  readonly witness: Witness
  /** Operations of all people so far. */
  readonly asked: Asked[] = []
  /** Chat turns from end to end, and the number of correct ones. */
  readonly goldenPath = { turns: 0, good: 0 }
  /** Steps of agents, and the number of those that have their row, their state and their events all or none. */
  readonly agentSteps = { steps: 0, agreeing: 0 }
  readonly pool: pg.Pool
  readonly #direct: pg.Pool
  readonly #server: Server
  readonly #url: string
  readonly #people = new Map<string, Person>()
  #clock: OutsideClock | undefined
  #isFenceLost = false

  private constructor(
    mode: Mode,
    parts: {
      lockstep: Lockstep<SqlClient>
      application: Application
      slowStep: SlowStep
      pool: pg.Pool
      direct: pg.Pool
      server: Server
    },
  ) {
    this.mode = mode
    this.lockstep = parts.lockstep
    this.pool = parts.pool
    this.#direct = parts.direct
    this.#server = parts.server
    this.#url = `ws://127.0.0.1:${(parts.server.address() as AddressInfo).port}/lockstep/ws`
    this.witness = new Witness({ url: this.#url, secret, database: parts.direct })
    this.slowStep = parts.slowStep
    this.conversation = parts.application.conversation
  }

  static async open(mode: Mode, databaseUrl: string): Promise<Stage> {
    const pool = new pg.Pool({ connectionString: databaseUrl, max: 16, pipeline: true })
    const direct = new pg.Pool({ connectionString: databaseUrl, max: 12 })
    await direct.query(tables)
    const database: Database<SqlClient> = fromPool(pool)
    const lockstep = createLockstep({
      database,
      auth: { secret },
      logger: silentLogger,
      rollout: { mode, operations: { [fence]: 'enforce', [sentinel]: 'observe' } },
      monitor: { rollupMs: 500 },
    })
    const slowStep = new SlowStep()
    const application = defineApplication(lockstep, slowStep)
    await lockstep.start()
    const server = createServer(lockstep.handler())
    lockstep.attach(server)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const stage = new Stage(mode, { lockstep, application, slowStep, pool, direct, server })
    await stage.witness.open()
    const client = await direct.connect()
    stage.#clock = await readOutsideClock(client)
    client.release()
    return stage
  }

  /** Opens a conversation that the witness follows, with these people in it. */
  async converse(id: string, ...names: readonly string[]): Promise<readonly Person[]> {
    await this.witness.follow(`conversation:${id}`)
    const people = await Promise.all(names.map((name) => this.person(name)))
    await Promise.all(people.map((person) => person.join(id)))
    return people
  }

  async person(id: string): Promise<Person> {
    const known = this.#people.get(id)
    if (known !== undefined) return known
    const person = new Person(id, { url: this.#url, secret })
    this.#people.set(id, person)
    await within(person.open(), `${id} to connect`)
    return person
  }

  /** Calls an operation as the person's page does; `asked` holds its outcome once `ended` resolves. */
  call(
    person: Person,
    name: 'send_message' | 'ask_assistant' | 'acknowledge',
    input: Readonly<Record<string, unknown>>,
    id = newOperationId(),
  ): { readonly asked: Asked; readonly ended: Promise<Asked> } {
    const asked: Asked = { operationId: id, name, user: person.id }
    this.asked.push(asked)
    const { outcome } = person.client.call(name, input as never, { id })
    const ended = within(outcome, `the outcome of ${name} of ${person.id}`).then((end) => {
      if (end.outcome === 'never_received') throw new Error(`${name} of ${person.id} never arrived`)
      asked.outcome = end.outcome
      if (end.outcome === 'committed') asked.result = end.result
      return asked
    })
    return { asked, ended }
  }

  /** Runs a step of an agent that works for the person, on the server. */
  async agentStep(
    person: Person,
    step: { readonly to: string; readonly run: string; readonly fails?: boolean },
  ): Promise<Asked> {
    const asked: Asked = { operationId: newOperationId(), name: 'agent_step', user: person.id }
    this.asked.push(asked)
    asked.outcome = await agentStep(this.lockstep, this.conversation, {
      ...step,
      operationId: asked.operationId,
      user: person.id,
    }).then(
      () => 'committed' as const,
      () => 'rolled_back' as const,
    )
    return asked
  }

  /** Judges the operations from outside, once all their events and notices have arrived. */
  async verdicts(operations: readonly Asked[] = this.asked): Promise<readonly Verdict[]> {
    const isComplete = ({ operationId, name, outcome }: Asked): boolean =>
      outcome !== 'committed' || this.witness.sightingsOf(operationId).length >= (eventsOf[name] ?? 0)
    // Events that do not come are reported by the judge, so a time-out here is no failure.
    await this.witness.until(() => operations.every(isComplete), 'the events').catch(() => {})
    const users = new Set(operations.map(({ user }) => user))
    await this.#settled(users)
    await this.witness.fence()
    await this.witness.settled()
    const committed = await this.#commitTimes(operations)
    return operations.map((asked) => judge(this.#factsOf(asked, committed), this.#measure))
  }

  /** Calls the operation that rolls back without a notice, and resolves to its id. */
  async plantUntold(): Promise<string> {
    const id = newOperationId()
    const fail = (): Promise<never> => Promise.reject(new Error('as planted'))
    await this.lockstep.transaction({ id, name: sentinel, user: sentinel }, fail).catch(() => {})
    return id
  }

  /** Queries past Lockstep, on a connection of its own. */
  async rows<Row>(text: string, values: readonly unknown[] = []): Promise<readonly Row[]> {
    return (await this.#direct.query(text, [...values])).rows as Row[]
  }

  async close(): Promise<void> {
    for (const person of this.#people.values()) person.close()
    this.witness.close()
    await this.lockstep.close({ drainMs: 200 })
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve())
      this.#server.closeAllConnections()
    })
    await Promise.all([this.pool.end(), this.#direct.end()])
  }

  /**
   * Waits until the notices that were sent have come. Where not even a fence is reported, waiting for the next notice
   * would show nothing more.
   */
  async #settled(users: ReadonlySet<string>): Promise<void> {
    if (this.#isFenceLost) return
    const people = await Promise.all([...users].map((user) => this.person(user)))
    await Promise.all(people.map((person) => person.settled())).catch(() => {
      this.#isFenceLost = true
    })
  }

  /** Largest error of this process's moments on the database's clock. */
  get clockErrorMs(): number {
    return this.#measure.errorMs
  }

  get #measure(): Measure {
    if (this.#clock === undefined) throw new Error('the stage is not open')
    return { ...this.#clock, thresholdMs: websocketThresholdMs }
  }

  #factsOf({ operationId, name, user, outcome }: Asked, committed: ReadonlyMap<string, number>): Facts {
    if (outcome === undefined) throw new Error(`${name} of ${user} has no outcome`)
    return {
      operationId,
      name,
      user,
      outcome,
      committedAt: committed.get(operationId),
      events: eventsOf[name] ?? 0,
      sightings: this.witness.sightingsOf(operationId),
      isTold: this.#people.get(user)?.noticeOf(operationId) !== undefined,
    }
  }

  /** Postgres keeps when each transaction committed (`track_commit_timestamp`). */
  async #commitTimes(operations: readonly Asked[]): Promise<ReadonlyMap<string, number>> {
    const found = await this.rows<{ id: string; at: number }>(
      `select operation_id as id, extract(epoch from pg_xact_commit_timestamp(xmin))::float8 * 1000 as at
       from (select operation_id, xmin from messages union select operation_id, xmin from receipts) as written
       where operation_id = any ($1)`,
      [operations.map(({ operationId }) => operationId)],
    )
    return new Map(found.map(({ id, at }) => [id, at]))
  }
}

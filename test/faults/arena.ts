// A small cluster for one directed schedule: few users, few calls, one fault at a chosen moment, then the verdict.
import { setTimeout as pause } from 'node:timers/promises'
import pg from 'pg'
import { newOperationId, type createClient } from '../../src/client/index.ts'
import { signToken } from '../../src/index.ts'
import { Caller, type Plan } from './caller.ts'
import { check, type Violation } from './checker.ts'
import { createCluster, secret, type Cluster, type ClusterOptions } from './cluster.ts'
import type { CommitFault } from './commit-faults.ts'
import { plantInDatabase, type DatabaseBug } from './database-bugs.ts'
import { createHistory, type History } from './history.ts'
import type { NodeBug } from './node-bugs.ts'
import { readOracle } from './oracle.ts'
import { Runner } from './runner.ts'
import type { Link } from './proxy.ts'
import { awaitRecovery } from './recovery.ts'
import { Subscriber } from './subscriber.ts'

export interface ArenaOptions extends Pick<
  ClusterOptions,
  'bundle' | 'serverUrl' | 'database' | 'config' | 'restart'
> {
  readonly nodes?: number
  /** Build of the client that callers use. Default: that of the sources. */
  readonly createClient?: typeof createClient
  readonly databaseBugs?: readonly DatabaseBug[] | undefined
  readonly nodeBug?: NodeBug | undefined
}

export interface VerdictOptions {
  /** Ends all faults first. Default true. */
  readonly heal?: boolean
  readonly isEpochRenewed?: boolean
}

const waitLimitMs = 15_000
/** Limit of a probe: longer than any healthy node takes. */
const probeLimitMs = 5_000
/** Limit of a recovery: far less than the fault lane allows, since the lease of these nodes is short, too. */
const recoveryLimitMs = 5_000

export class Arena {
  readonly cluster: Cluster
  readonly history: History
  readonly direct: pg.Pool
  readonly #next: { fault: CommitFault | undefined }
  readonly #createClient: typeof createClient | undefined
  readonly #callers: Caller[] = []
  readonly #subscribers: Subscriber[] = []
  readonly #runners: Runner[] = []
  readonly #reads: Promise<void>[] = []

  private constructor(
    options: ArenaOptions,
    {
      cluster,
      history,
      next,
    }: Pick<Arena, 'cluster' | 'history'> & { next: { fault: CommitFault | undefined } },
  ) {
    this.cluster = cluster
    this.history = history
    this.#next = next
    this.#createClient = options.createClient
    this.direct = new pg.Pool({ connectionString: cluster.directUrl, max: 2, application_name: 'direct' })
    this.direct.on('error', () => {})
  }

  static async open({ databaseBugs = [], nodeBug, ...options }: ArenaOptions): Promise<Arena> {
    const history = createHistory()
    const next: { fault: CommitFault | undefined } = { fault: undefined }
    const cluster = await createCluster({
      ...options,
      nodes: options.nodes ?? 1,
      history,
      config: { leaseMs: 900, headCheckMs: 100, ...options.config, bug: nodeBug },
      chooseCommitFault: () => {
        const { fault } = next
        next.fault = undefined
        return fault
      },
    })
    // The nodes serve, so that the database is migrated, and nobody has called yet.
    await plantInDatabase(cluster.directUrl, databaseBugs)
    return new Arena(options, { cluster, history, next })
  }

  /** Breaks the COMMIT of the next operation. */
  breakNextCommit(fault: CommitFault): void {
    this.#next.fault = fault
  }

  /** Opens a caller, who is connected when this resolves. */
  async caller(user: string): Promise<Caller> {
    const createClient = this.#createClient
    const caller = new Caller({
      ...(await this.#common(user)),
      name: `caller ${this.#callers.length} of ${user}`,
      ...(createClient === undefined ? {} : { createClient }),
    })
    this.#callers.push(caller)
    await this.until('the caller is connected', () => caller.isConnected)
    return caller
  }

  /** Opens a user who starts and stops jobs. */
  async runner(): Promise<Runner> {
    const runner = new Runner(await this.#common(`runner${this.#runners.length}`))
    this.#runners.push(runner)
    return runner
  }

  /** Reads the state of a run, and the index of the node that has it, counted from the first lease that was taken. */
  async untilRun(
    id: string,
    isThere: (run: { readonly state: string; readonly attempt: number }) => boolean,
  ) {
    const text = 'select state, attempt from lockstep.runs where id = $1'
    await this.until('a run is where it should be', async () => {
      const [row] = (await this.direct.query<{ state: string; attempt: number }>(text, [id])).rows
      return row !== undefined && isThere(row)
    })
  }

  /** Waits until a step of a run is in its transaction. */
  async untilStepIsOpen(): Promise<void> {
    const text = `select from pg_stat_activity where datname = current_database() and state = 'idle in transaction'
      and query like 'insert into job_effects%'`
    await this.until(
      'a step is in its transaction',
      async () => (await this.direct.query(text)).rowCount !== 0,
    )
  }

  /**
   * Opens a subscriber, who has joined the rooms when this resolves. After every event the subscriber reads the row
   * that belongs to it.
   */
  async subscriber(
    user: string,
    rooms: readonly string[],
    prying: readonly string[] = [],
  ): Promise<Subscriber> {
    const name = `subscriber ${this.#subscribers.length} of ${user}`
    const onEvent = (event: { readonly id: string; readonly channel: string }): void => {
      if (event.channel.startsWith('room:')) this.#reads.push(this.#readBack(name, event.id))
    }
    const subscriber = new Subscriber({ ...(await this.#common(user)), name, rooms, prying, onEvent })
    this.#subscribers.push(subscriber)
    await subscriber.ready()
    return subscriber
  }

  /**
   * Calls an operation, and waits for its end.
   * @returns the operation's id
   */
  async call(caller: Caller, plan: Plan, id = newOperationId()): Promise<string> {
    await caller.call(id, plan)
    return id
  }

  /** Keeps the nodes from hearing of each other while `work` runs; their other connections to the database stay. */
  async withoutBus(work: () => Promise<void>): Promise<void> {
    const { postgresLeg, busLeg } = this.cluster
    const cut = busLeg.links()
    if (cut.length === 0) throw new Error('there is no bus that could be cut')
    postgresLeg.refusing = true
    for (const link of cut) link.reset('both')
    await Promise.all(cut.map((link) => link.closed))
    await work()
    postgresLeg.refusing = false
  }

  /** Keeps the nodes from the database while `work` runs. */
  async withoutDatabase(work: () => Promise<void>): Promise<void> {
    const { postgresLeg } = this.cluster
    postgresLeg.refusing = true
    for (const link of postgresLeg.links) link.reset('both')
    await work()
    postgresLeg.refusing = false
  }

  /** Keeps the nodes from the database from the moment a COMMIT is broken until it has landed. */
  async withoutDatabaseUntilCommitLands(): Promise<void> {
    const { postgresLeg } = this.cluster
    const isBroken = (link: Link): boolean => link.client.destroyed
    await this.until('a COMMIT is broken', () => [...postgresLeg.links].some(isBroken))
    postgresLeg.refusing = true
    for (const link of postgresLeg.links) if (!isBroken(link)) link.reset('both')
    await this.untilCommitsLanded()
    postgresLeg.refusing = false
  }

  /** Waits for a fact that sends no signal. */
  async until(what: string, isTrue: () => boolean | Promise<boolean>): Promise<void> {
    const began = performance.now()
    while (!(await isTrue())) {
      if (performance.now() - began > waitLimitMs) throw new Error(`waited in vain until ${what}`)
      await pause(10)
    }
  }

  /** Reads the operation's state: `started` once its intent stands. */
  stateOf(id: string): Promise<string | undefined> {
    return this.direct
      .query<{ state: string | null }>(
        `select coalesce(
           (select state from lockstep.operations where id = $1),
           (select 'started' from lockstep.intents where $1 = any(ids) limit 1)) as state`,
        [id],
      )
      .then(({ rows }) => rows[0]?.state ?? undefined)
  }

  /** Waits until no message of a broken COMMIT is on its way any more. */
  async untilCommitsLanded(): Promise<void> {
    await this.until('broken connections are gone', () =>
      [...this.cluster.postgresLeg.links].every((link) => !link.client.destroyed),
    )
  }

  /** Waits until no transaction is open any more, whatever became of the call that it belongs to. */
  async untilTransactionsEnded(): Promise<void> {
    const open = `select from pg_stat_activity
      where datname = current_database() and pid <> pg_backend_pid() and xact_start is not null`
    await this.until('no transaction is open', async () => (await this.direct.query(open)).rowCount === 0)
  }

  /** Heals unless told otherwise, waits for the recovery and checks. */
  async verdict({ heal = true, isEpochRenewed = false }: VerdictOptions = {}): Promise<readonly Violation[]> {
    if (heal) await this.cluster.heal()
    this.history.add({ kind: 'healed' })
    if (heal) await this.#probeNodes()
    const people = { callers: this.#callers, subscribers: this.#subscribers }
    await awaitRecovery({ history: this.history, direct: this.direct, ...people, limitMs: recoveryLimitMs })
    await Promise.all(this.#reads)
    const oracle = await readOracle(this.cluster.directUrl)
    return check({ history: this.history.lines, oracle, isEpochRenewed })
  }

  /** Calls an operation on each node, now that no fault is left: each node has to serve. */
  async #probeNodes(): Promise<void> {
    for (const slot of this.cluster.slots) {
      this.cluster.prefer(slot)
      const caller = await this.caller('probe')
      // A probe that is never answered is found by the rules.
      await Promise.race([this.call(caller, { rooms: ['probe'] }), pause(probeLimitMs)])
    }
    this.cluster.prefer(undefined)
  }

  async close(): Promise<void> {
    for (const person of [...this.#callers, ...this.#subscribers, ...this.#runners]) person.close()
    await this.direct.end()
    await this.cluster.close()
  }

  async #common(user: string) {
    return { user, url: this.cluster.url, token: await signToken(secret, user, 3_600), history: this.history }
  }

  async #readBack(subscriber: string, id: string): Promise<void> {
    try {
      const { rowCount } = await this.direct.query('select from effects where operation_id = $1', [id])
      this.history.add({ kind: 'read', subscriber, id, found: rowCount !== 0 })
    } catch {
      // The database is away, or the arena is being closed: there was no read. The rules count those there were.
    }
  }
}

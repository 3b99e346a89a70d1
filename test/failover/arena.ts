// Three nodes on a primary that can be replaced, their users, and the verdict over both histories.
import { setTimeout as pause } from 'node:timers/promises'
import pg from 'pg'
import { newOperationId } from '../../src/client/index.ts'
import { signToken } from '../../src/index.ts'
import { databaseUrl, type EmbeddedPostgres } from '../../tools/embedded-postgres/index.ts'
import { Caller } from '../faults/caller.ts'
import { check, type Violation } from '../faults/checker.ts'
import { createCluster, secret, type Cluster } from '../faults/cluster.ts'
import { createHistory, type History } from '../faults/history.ts'
import { readOracle, type Oracle } from '../faults/oracle.ts'
import { awaitRecovery } from '../faults/recovery.ts'
import { Subscriber } from '../faults/subscriber.ts'
import { startServers, type Servers } from './servers.ts'

const database = 'failover'
const waitLimitMs = 30_000
const recoveryLimitMs = 20_000

export interface FailoverArenaOptions {
  readonly bundle: string
  readonly logFile?: string
}

export class FailoverArena {
  readonly servers: Servers
  readonly cluster: Cluster
  readonly history: History
  readonly #serving: { server: EmbeddedPostgres }
  readonly #earlier: Oracle[] = []
  readonly #callers: Caller[] = []
  readonly #subscribers: Subscriber[] = []

  private constructor(
    parts: Pick<FailoverArena, 'servers' | 'cluster' | 'history'>,
    serving: { server: EmbeddedPostgres },
  ) {
    this.servers = parts.servers
    this.cluster = parts.cluster
    this.history = parts.history
    this.#serving = serving
  }

  static async open({ bundle, logFile }: FailoverArenaOptions): Promise<FailoverArena> {
    const servers = await startServers()
    try {
      const history = createHistory()
      const serving = { server: servers.primary }
      const cluster = await createCluster({
        bundle,
        nodes: 3,
        history,
        serverUrl: servers.primary.url,
        postgresPort: () => serving.server.port,
        database,
        config: { log: logFile !== undefined },
        ...(logFile === undefined ? {} : { logFile }),
      })
      return new FailoverArena({ servers, cluster, history }, serving)
    } catch (error) {
      await servers.close()
      throw error
    }
  }

  /** Opens a caller, who is connected when this resolves. */
  async caller(user: string): Promise<Caller> {
    const caller = new Caller({ ...(await this.#common(user)), name: `caller of ${user}` })
    this.#callers.push(caller)
    await this.until('the caller is connected', () => caller.isConnected)
    return caller
  }

  /** Opens a subscriber, who has joined the rooms when this resolves. */
  async subscriber(user: string, rooms: readonly string[] = ['a']): Promise<Subscriber> {
    const subscriber = new Subscriber({
      ...(await this.#common(user)),
      name: `subscriber ${this.#subscribers.length} of ${user}`,
      rooms,
    })
    this.#subscribers.push(subscriber)
    await subscriber.ready()
    return subscriber
  }

  /**
   * Calls one operation after the other, waiting for the outcome of each.
   * @returns the ids of the operations
   */
  async call(caller: Caller, count: number): Promise<readonly string[]> {
    const ids = Array.from({ length: count }, () => newOperationId())
    for (const id of ids) await caller.call(id, { rooms: ['a'] })
    return ids
  }

  /** Waits until every subscriber has all events of the room. */
  async caughtUp(subscribers: readonly Subscriber[]): Promise<void> {
    await this.until('all events are there', async () => {
      const head = (await this.oracle()).heads.get('room:a') ?? 0
      return subscribers.every(({ positions }) => positions.get('room:a') === head)
    })
  }

  /** Reads the database that nodes are led to at this moment. */
  oracle(): Promise<Oracle> {
    return readOracle(databaseUrl(this.#serving.server.url, database))
  }

  async query<Row extends object>(server: EmbeddedPostgres, text: string): Promise<readonly Row[]> {
    const client = new pg.Client({ connectionString: server.url })
    await client.connect()
    try {
      return (await client.query<Row>(text)).rows
    } finally {
      await client.end()
    }
  }

  /** Waits until the standby has all that the primary has. */
  async replicated(standby: EmbeddedPostgres): Promise<void> {
    const [row] = await this.query<{ lsn: string }>(
      this.servers.primary,
      'select pg_current_wal_flush_lsn() as lsn',
    )
    await this.until('the standby has caught up', async () => {
      const question = `select pg_last_wal_replay_lsn() >= '${row?.lsn}' as has from pg_is_in_recovery()`
      return (await this.query<{ has: boolean }>(standby, question))[0]?.has === true
    })
  }

  /** Lets the standby fall behind from now on. */
  cutReplication(): void {
    const { replication } = this.servers
    replication.refusing = true
    for (const link of replication.links) link.reset('both')
  }

  /** Keeps the nodes from any database. The state of the one that they had is the end of its history. */
  async endHistory(): Promise<void> {
    const { postgresLeg } = this.cluster
    postgresLeg.refusing = true
    for (const link of postgresLeg.links) link.reset('both')
    await this.closeHistory()
  }

  /** Ends the history of the server that nodes are led to. */
  async closeHistory(): Promise<void> {
    await this.until('nothing is being committed', async () => {
      const open = `select from pg_stat_activity where datname = '${database}' and xact_start is not null and pid <> pg_backend_pid()`
      return (await this.query(this.#serving.server, open)).length === 0
    })
    this.#earlier.push(await this.oracle())
    this.history.add({ kind: 'fault', fault: 'failover' })
  }

  /** Leads new connections of nodes to this server. */
  leadTo(server: EmbeddedPostgres): void {
    this.#serving.server = server
    this.cluster.postgresLeg.refusing = false
  }

  /** Waits for a fact that sends no signal. */
  async until(what: string, isTrue: () => boolean | Promise<boolean>): Promise<void> {
    const began = performance.now()
    while (!(await isTrue())) {
      if (performance.now() - began > waitLimitMs) throw new Error(`waited in vain until ${what}`)
      await pause(10)
    }
  }

  /** Waits for the recovery and checks. */
  async verdict(): Promise<readonly Violation[]> {
    this.history.add({ kind: 'healed' })
    const direct = new pg.Pool({ connectionString: databaseUrl(this.#serving.server.url, database), max: 2 })
    direct.on('error', () => {})
    try {
      const people = { callers: this.#callers, subscribers: this.#subscribers }
      await awaitRecovery({ history: this.history, direct, ...people, limitMs: recoveryLimitMs })
    } finally {
      await direct.end()
    }
    return check({ history: this.history.lines, oracle: await this.oracle(), earlier: this.#earlier })
  }

  async close(): Promise<void> {
    for (const person of [...this.#callers, ...this.#subscribers]) person.close()
    await this.cluster.close()
    await this.servers.close()
  }

  async #common(user: string) {
    return { user, url: this.cluster.url, token: await signToken(secret, user, 3_600), history: this.history }
  }
}

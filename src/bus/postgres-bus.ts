import {
  assertOptions,
  assertValue,
  detach,
  hasMethods,
  LockstepError,
  messageOf,
  type Database,
  type DatabaseSession,
  type Expectation,
} from '../core/index.ts'
import { databaseExpectation } from '../postgres/index.ts'
import type { Bus } from './bus.ts'
import { busShape, ShardedBus, type BusOptions } from './sharded-bus.ts'
import type { Transport, TransportPort } from './transport.ts'

/**
 * A bus over LISTEN and NOTIFY, on one connection of its own to the database given. That has to reach Postgres
 * directly, or through a pooler in session mode: LISTEN belongs to a session.
 * @throws LS_CONFIG_INVALID for a database of a single process
 */
export function postgresBus(database: Pick<Database<unknown>, 'openSession'>, options: BusOptions = {}): Bus {
  assertValue('postgresBus', database, withSessions, 'database')
  assertOptions('postgresBus', options, busShape, 'postgresBus(fromPool(pool), { selfTestMs })')
  const { openSession } = database
  if (openSession === undefined) {
    throw new LockstepError('LS_CONFIG_INVALID', { message: 'This database has no LISTEN for a bus.' })
  }
  return new ShardedBus(new PostgresTransport(openSession), options)
}

/** A database, or the part of one that the bus uses. */
const withSessions: Expectation = {
  ...databaseExpectation,
  fits: (value) => hasMethods(value, ['openSession']) || databaseExpectation.fits(value),
}

const firstRetryMs = 100
const longestRetryMs = 2_000

/** @see https://www.postgresql.org/docs/18/sql-notify.html for the limit of 8,000 bytes, and what a commit costs */
class PostgresTransport implements Transport {
  readonly kind = 'postgres'
  readonly isOnDatabase = true
  readonly maxMessageBytes = 7_900
  // Every commit of a NOTIFY takes one lock of the whole server, so few of them are better than many.
  readonly batchInterval = { leastMs: 10, mostMs: 20, stream: 10 }
  readonly deafnessHint =
    '; is there a pooler in transaction mode? Give postgresBus a database that is reached directly'
  readonly #openSession: () => Promise<DatabaseSession>
  readonly #subjects = new Set<string>()
  #session: DatabaseSession | undefined
  /** Session that does not listen yet. */
  #opening: DatabaseSession | undefined
  #retryMs = firstRetryMs
  #cancelRetry: (() => void) | undefined
  #deafness: string | undefined
  #isClosed = false

  constructor(openSession: () => Promise<DatabaseSession>) {
    this.#openSession = openSession
  }

  /** A name of at most 63 bytes, which is what LISTEN takes. */
  subjectOf(scope: string, part: string): string {
    return `lockstep_${scope}_${part}`
  }

  async open(port: TransportPort): Promise<void> {
    await this.#connect(port)
  }

  async send(messages: Parameters<Transport['send']>[0]): Promise<void> {
    await this.#require().query({
      name: 'lockstep_bus_send',
      text: `select pg_notify(subject, message)
             from unnest($1::text[], string_to_array($2, e'\\n')) as sent (subject, message)`,
      // JSON text holds no line break as such. An array of them would be escaped here and parsed there, once more.
      values: [messages.map(({ subject }) => subject), messages.map(({ text }) => text).join('\n')],
    })
  }

  async subscribe(subject: string): Promise<void> {
    this.#subjects.add(subject)
    // Skip LISTEN without a session: the next one begins with it.
    await this.#session?.query({ text: `listen "${subject}"` })
  }

  async unsubscribe(subject: string): Promise<void> {
    this.#subjects.delete(subject)
    await this.#session?.query({ text: `unlisten "${subject}"` })
  }

  reconnect(problem: string): void {
    const session = this.#session ?? this.#opening
    if (session === undefined) return
    this.#deafness = problem
    session.destroy()
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#cancelRetry?.()
    this.#session?.destroy()
    this.#opening?.destroy()
  }

  #require(): DatabaseSession {
    if (this.#session === undefined) throw new LockstepError('LS_CONNECTION_LOST')
    return this.#session
  }

  async #connect(port: TransportPort): Promise<void> {
    let session: DatabaseSession | undefined
    try {
      session = this.#opening = await this.#openSession()
      if (this.#isClosed) return session.destroy()
      session.onNotification((_, payload) => port.hear(payload))
      // A message that a crash of the server loses was a hint: its event is in the log.
      await session.query({ text: 'set synchronous_commit = off' })
      const listening = [...this.#subjects]
      if (listening.length > 0)
        await session.query({ text: listening.map((subject) => `listen "${subject}"`).join('; ') })
      if (this.#isClosed) return session.destroy()
      this.#session = session
      // Subjects that were asked for while the first were on their way.
      for (const subject of this.#subjects) {
        if (!listening.includes(subject)) await session.query({ text: `listen "${subject}"` })
      }
      this.#retryMs = firstRetryMs
      const lost = session.ended.then((reason) => this.#lost(reason, port))
      detach(lost, port.logger, 'the end of the session of the bus')
      port.up()
    } catch (error) {
      session?.destroy()
      this.#lost(messageOf(error), port)
    } finally {
      this.#opening = undefined
    }
  }

  #lost(reason: string, port: TransportPort): void {
    this.#session = undefined
    if (this.#isClosed) return
    port.down(this.#deafness ?? reason)
    this.#deafness = undefined
    this.#cancelRetry = port.clock.after(this.#retryMs, () =>
      detach(this.#connect(port), port.logger, 'a new session of the bus'),
    )
    this.#retryMs = Math.min(this.#retryMs * 2, longestRetryMs)
  }
}

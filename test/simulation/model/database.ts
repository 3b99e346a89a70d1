import {
  LockstepError,
  pause,
  whenSettled,
  type CommitResult,
  type Database,
  type HistoryGate,
  type OpenTransaction,
  type Queryable,
  type Rows,
  type SavepointWatch,
  type Statement,
  type Statements,
} from '../../../src/core/index.ts'
import type { Host } from '../scheduler.ts'
import type { Weather } from '../weather.ts'
import type { ModelServer } from './server.ts'
import { schema } from './state.ts'

/** Database handle for the code of an operation, whose statements only take time here. */
export interface ModelDb {
  work(forMs: number): Promise<void>
  /** Sets a savepoint, or rolls back to the one that was set last. */
  savepoint(verb: 'set' | 'undo'): Promise<void>
}

/** A process's connections to the modelled server. */
export interface Leg {
  readonly host: Host
  readonly server: ModelServer
  readonly weather: Weather
}

const unreachable = (): LockstepError => new LockstepError('LS_DATABASE_UNREACHABLE')
const lost = (): LockstepError => new LockstepError('LS_CONNECTION_LOST')

/** A connection, or several that are alike: broken when the server is another, and admitted anew by the gate then. */
class Connection implements Queryable {
  readonly #leg: Leg
  #gate: HistoryGate | undefined
  #generation = 0
  #epoch = ''

  constructor(leg: Leg) {
    this.#leg = leg
  }

  guard(gate: HistoryGate): void {
    this.#gate = gate
  }

  async query<Row>(statement: Statement): Promise<Rows<Row>> {
    const { generation } = await this.lend()
    return this.#send<Row>(statement, generation)
  }

  /**
   * Lends a connection as `GuardedPool` does: once the gate has admitted it, and while its history is the one that is
   * served.
   */
  async lend(): Promise<{ readonly generation: number; readonly epoch: string }> {
    for (;;) {
      const { generation } = this.#leg.server
      if (this.#gate === undefined) return { generation, epoch: '' }
      if (this.#generation === generation && this.#epoch === this.#gate.epoch)
        return { generation, epoch: this.#epoch }
      this.#epoch = await this.#gate.admit({ query: (statement) => this.#send(statement, generation) })
      this.#generation = generation
    }
  }

  #send<Row>(statement: Statement, generation: number): Promise<Rows<Row>> {
    const { host, server, weather } = this.#leg
    return new Promise((resolve, reject) => {
      host.enter(() => {
        const fate = weather.questionFate()
        const fail = (error: unknown): void =>
          void server.scheduler.after(weather.noticeMs(), () => host.enter(() => reject(error)))
        server.scheduler.after(weather.latencyMs(), () => {
          if (server.isDown) return fail(unreachable())
          if (fate === 'requestLost' || generation !== server.generation) return fail(lost())
          const answer = (rows: readonly unknown[]): void => {
            if (fate === 'replyLost' || generation !== server.generation) return fail(lost())
            server.scheduler.after(weather.latencyMs(), () =>
              host.enter(() => resolve({ rows: rows as Row[], count: rows.length })),
            )
          }
          whenSettled(server.carryOut(statement, host), answer, fail)
        })
      })
    })
  }
}

export class ModelDatabase implements Database<ModelDb> {
  readonly kind = 'postgres'
  readonly singleSession = false
  readonly schema = schema
  readonly connections = 8
  readonly ownConnections = 3
  readonly own: Queryable
  readonly lease: Queryable
  readonly db: ModelDb
  readonly #leg: Leg
  readonly #own: Connection
  readonly #lease: Connection
  readonly #users: Connection

  constructor(leg: Leg) {
    this.#leg = leg
    this.#own = this.own = new Connection(leg)
    this.#lease = this.lease = new Connection(leg)
    this.#users = new Connection(leg)
    this.db = {
      work: (forMs) => pause(leg.host.clock, forMs),
      savepoint: () => Promise.reject(new Error('no transaction')),
    }
  }

  guard(gate: HistoryGate): void {
    for (const each of [this.#own, this.#lease, this.#users]) each.guard(gate)
  }

  async begin(): Promise<OpenTransaction<ModelDb>> {
    const { server } = this.#leg
    if (server.isDown) {
      await pause(this.#leg.host.clock, this.#leg.weather.noticeMs())
      throw unreachable()
    }
    const { generation, epoch } = await this.#users.lend()
    const { clock } = this.#leg.host
    let watch: SavepointWatch | undefined
    return {
      db: {
        ...this.db,
        savepoint: async (verb) => {
          const answered = watch?.({ verb, name: 'here' })
          await pause(clock, this.#leg.weather.latencyMs())
          answered?.(true)
        },
      },
      epoch,
      failure: undefined,
      watchSavepoints: (hears) => void (watch = hears),
      close() {},
      savepoint: () => Promise.reject(new Error('no savepoints here')),
      commit: (flush) => this.#commit(flush, generation),
      rollback: () => pause(this.#leg.host.clock, 1),
      cancel: () => Promise.resolve(),
    }
  }

  #commit(flush: Statements, generation: number): Promise<CommitResult> {
    const { host, server, weather } = this.#leg
    return new Promise((resolve) => {
      host.enter(() => {
        const fate = weather.commitFate()
        const answerIn = (delayMs: number, ending: CommitResult): void =>
          void server.scheduler.after(delayMs, () => host.enter(() => resolve(ending)))
        const unknown = (): void => answerIn(weather.noticeMs(), { ending: 'unknown', error: lost() })
        if (fate === 'late') unknown()
        server.scheduler.after(weather.latencyMs() + (fate === 'late' ? weather.lateMs() : 0), () => {
          if (server.isDown || fate === 'requestLost' || generation !== server.generation) return unknown()
          if (fate === 'conflict') {
            const error = new LockstepError('LS_SERIALIZATION_FAILURE')
            return answerIn(weather.latencyMs(), { ending: 'rolled_back', error })
          }
          whenSettled(
            server.commit(flush, host, weather.commitMs()),
            (rows) => {
              if (rows === undefined || fate === 'replyLost') return unknown()
              const flushed = rows.map((each) => ({ rows: each, count: each.length }))
              answerIn(weather.replyMs(), { ending: 'committed', flushed })
            },
            (error) => answerIn(weather.latencyMs(), { ending: 'rolled_back', error }),
          )
        })
      })
    })
  }

  reads(): ModelDb {
    return this.db
  }

  migrate(): Promise<void> {
    return Promise.resolve()
  }

  snapshot(): Promise<never> {
    return Promise.reject(new Error('no snapshots here'))
  }

  close(): Promise<void> {
    return Promise.resolve()
  }
}

import { randomUUID } from 'node:crypto'
import { messageOf, type Logger, type Queryable } from '../core/index.ts'
import { moveAlert, readAlert, type AlertRow } from '../postgres/index.ts'
import { nextAlertState, type AlertBounds, type ScoreAlert } from './alert-state.ts'
import type { AlertState, Score, ViolationCounts } from './dashboard-data.ts'
import { isoOf } from './recent-operations.ts'

export interface AlarmOptions {
  readonly own: Queryable
  readonly schema: string
  readonly logger: Logger
  readonly bounds: AlertBounds
  readonly node: () => string
  readonly alert: ((alert: ScoreAlert) => void | Promise<void>) | undefined
}

const name = 'score'

/** An alert before the database has said when it was. */
type Move = Omit<ScoreAlert, 'at'>

/** The cluster's alert: its state stands in the database, so whoever moves it there, and nobody else, tells it. */
export class Alarm {
  readonly #options: AlarmOptions
  #state: AlertState = 'ok'
  #sinceMs: number | null = null
  /** The reply to a move was lost: to be told when it turns out to stand in the table. */
  #unanswered: Move | undefined

  constructor(options: AlarmOptions) {
    this.#options = options
  }

  get state(): AlertState {
    return this.#state
  }

  get sinceMs(): number | null {
    return this.#sinceMs
  }

  /** What another node may have moved, or this one without hearing of it. @throws database errors */
  async read(): Promise<void> {
    const { rows } = await this.#options.own.query<AlertRow>(readAlert(this.#options.schema, name))
    const [row] = rows
    this.#take(row)
    const alert = this.#unanswered
    if (row === undefined || alert?.node !== row.node || alert.state !== toldAs(row.state)) return
    this.#unanswered = undefined
    await this.#tell({ ...alert, at: isoOf(row.since_ms) })
  }

  isDue(score: Score): boolean {
    return nextAlertState(this.#state, score.overall, this.#options.bounds) !== this.#state
  }

  /** Moves the alert where the score says, and tells it if no other node was first. @throws database errors */
  async move(score: Score, violations: ViolationCounts): Promise<void> {
    const { bounds, node } = this.#options
    const state = nextAlertState(this.#state, score.overall, bounds)
    if (state === this.#state) return
    const { overall, operations, unhealthy, windowMinutes } = score
    const alert: Move = {
      id: randomUUID(),
      name,
      state: toldAs(state),
      score: overall,
      operations,
      unhealthy,
      violations,
      ...bounds,
      windowMinutes,
      node: node(),
    }
    const before = this.#unanswered
    // Not while it is being asked: the answer itself tells it.
    this.#unanswered = undefined
    const row = await this.#move(alert, state)
    if (row === undefined) {
      // Another was first, or this node by the move before.
      this.#unanswered = before
      return this.read()
    }
    this.#take(row)
    await this.#tell({ ...alert, at: isoOf(row.since_ms) })
  }

  async #move(alert: Move, state: AlertState): Promise<AlertRow | undefined> {
    const { own, schema } = this.#options
    try {
      const { score, node } = alert
      const { rows } = await own.query<AlertRow>(moveAlert(schema, { name, state, score, node }))
      return rows[0]
    } catch (error) {
      this.#unanswered = alert
      throw error
    }
  }

  async #tell(alert: ScoreAlert): Promise<void> {
    try {
      await this.#options.alert?.(alert)
    } catch (error) {
      this.#options.logger.error({ alert: alert.id, error: messageOf(error) }, 'an alert was not told')
    }
  }

  #take(row: AlertRow | undefined): void {
    this.#state = row?.state ?? 'ok'
    this.#sinceMs = row?.since_ms ?? null
  }
}

function toldAs(state: AlertState): ScoreAlert['state'] {
  return state === 'firing' ? 'firing' : 'recovered'
}

import { randomUUID } from 'node:crypto'
import { messageOf, type Logger, type Queryable } from '../../core/index.ts'
import { moveAlert, readAlert, type AlertRow } from '../../postgres/index.ts'
import { nextAlertState, type AlertBounds, type ScoreAlert } from './score-alert.ts'
import type { AlertState, Score, ViolationCounts } from '../model/dashboard-data.ts'
import { isoOf } from '../measure/recent-operations.ts'

export interface ClusterAlertOptions {
  readonly own: Queryable
  readonly schema: string
  readonly logger: Logger
  readonly bounds: AlertBounds
  readonly node: () => string
  readonly alert: ((alert: ScoreAlert) => void | Promise<void>) | undefined
}

const name = 'score'

/** Alert whose time the database has not given yet. */
type Move = Omit<ScoreAlert, 'at'>

/** The score alert of the whole cluster. Its state is stored in the database, so the node that changes it there is the only one to send the alert. */
export class ClusterAlert {
  readonly #own: Queryable
  readonly #schema: string
  readonly #logger: Logger
  readonly #bounds: AlertBounds
  readonly #node: () => string
  readonly #alert: ((alert: ScoreAlert) => void | Promise<void>) | undefined
  #state: AlertState = 'ok'
  #sinceMs: number | null = null
  /** The reply to a move was lost: the alert is sent when the move turns out to stand in the table. */
  #unanswered: Move | undefined

  constructor(options: ClusterAlertOptions) {
    this.#own = options.own
    this.#schema = options.schema
    this.#logger = options.logger
    this.#bounds = options.bounds
    this.#node = options.node
    this.#alert = options.alert
  }

  get state(): AlertState {
    return this.#state
  }

  get sinceMs(): number | null {
    return this.#sinceMs
  }

  /** Reads the state of the alert, which another node may have moved, or this one without hearing of it. @throws database errors */
  async read(): Promise<void> {
    const { rows } = await this.#own.query<AlertRow>(readAlert(this.#schema, name))
    const [row] = rows
    this.#take(row)
    const alert = this.#unanswered
    if (row === undefined || alert?.node !== row.node || alert.state !== reportedState(row.state)) return
    this.#unanswered = undefined
    await this.#notify({ ...alert, at: isoOf(row.since_ms) })
  }

  isDue(score: Score): boolean {
    return nextAlertState(this.#state, score.overall, this.#bounds) !== this.#state
  }

  /** Moves the alert where the score says, and sends the alert if no other node was first. @throws database errors */
  async move(score: Score, violations: ViolationCounts): Promise<void> {
    const state = nextAlertState(this.#state, score.overall, this.#bounds)
    if (state === this.#state) return
    const { overall, operations, unhealthy, windowMinutes } = score
    const alert: Move = {
      id: randomUUID(),
      name,
      state: reportedState(state),
      score: overall,
      operations,
      unhealthy,
      violations,
      ...this.#bounds,
      windowMinutes,
      node: this.#node(),
    }
    const before = this.#unanswered
    // Clear the move while its question is under way: the answer itself settles it.
    this.#unanswered = undefined
    const row = await this.#move(alert, state)
    if (row === undefined) {
      // Keep the move: another node was first, or this one by the move before.
      this.#unanswered = before
      return this.read()
    }
    this.#take(row)
    await this.#notify({ ...alert, at: isoOf(row.since_ms) })
  }

  async #move(alert: Move, state: AlertState): Promise<AlertRow | undefined> {
    try {
      const { score, node } = alert
      const { rows } = await this.#own.query<AlertRow>(moveAlert(this.#schema, { name, state, score, node }))
      return rows[0]
    } catch (error) {
      this.#unanswered = alert
      throw error
    }
  }

  async #notify(alert: ScoreAlert): Promise<void> {
    try {
      await this.#alert?.(alert)
    } catch (error) {
      this.#logger.error({ alert: alert.id, error: messageOf(error) }, 'an alert was not sent')
    }
  }

  #take(row: AlertRow | undefined): void {
    this.#state = row?.state ?? 'ok'
    this.#sinceMs = row?.since_ms ?? null
  }
}

function reportedState(state: AlertState): ScoreAlert['state'] {
  return state === 'firing' ? 'firing' : 'recovered'
}

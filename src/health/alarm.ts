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

/** The cluster's alert: its state stands in the database, so whoever moves it there, and nobody else, tells it. */
export class Alarm {
  readonly #options: AlarmOptions
  #state: AlertState = 'ok'
  #sinceMs: number | null = null

  constructor(options: AlarmOptions) {
    this.#options = options
  }

  get state(): AlertState {
    return this.#state
  }

  get sinceMs(): number | null {
    return this.#sinceMs
  }

  /** What another node may have moved. @throws database errors */
  async read(): Promise<void> {
    const { rows } = await this.#options.own.query<AlertRow>(readAlert(this.#options.schema, name))
    this.#take(rows[0])
  }

  isDue(score: Score): boolean {
    return nextAlertState(this.#state, score.overall, this.#options.bounds) !== this.#state
  }

  /** Moves the alert where the score says, and tells it if no other node was first. @throws database errors */
  async move(score: Score, violations: ViolationCounts): Promise<void> {
    const { own, schema, bounds, node } = this.#options
    const state = nextAlertState(this.#state, score.overall, bounds)
    if (state === this.#state) return
    const { rows } = await own.query<AlertRow>(
      moveAlert(schema, { name, state, score: score.overall, node: node() }),
    )
    if (rows[0] === undefined) return this.read()
    this.#take(rows[0])
    const { overall, operations, unhealthy, windowMinutes } = score
    await this.#tell({
      id: randomUUID(),
      name,
      state: state === 'firing' ? 'firing' : 'recovered',
      score: overall,
      operations,
      unhealthy,
      violations,
      ...bounds,
      windowMinutes,
      node: node(),
      at: isoOf(rows[0].since_ms),
    })
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

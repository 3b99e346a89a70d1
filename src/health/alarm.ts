import type { Queryable } from '../core/index.ts'
import { moveAlert, readAlert, type AlertRow } from '../postgres/index.ts'
import { nextAlertState, type AlertBounds } from './alert-state.ts'
import type { AlertState } from './dashboard-data.ts'

export interface AlarmOptions {
  readonly own: Queryable
  readonly schema: string
  readonly bounds: AlertBounds
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

  isDue(score: number): boolean {
    return nextAlertState(this.#state, score, this.#options.bounds) !== this.#state
  }

  /** @returns the state this node moved the alert to, and so has to tell. @throws database errors */
  async move(score: number, node: string): Promise<'firing' | 'recovered' | undefined> {
    const state = nextAlertState(this.#state, score, this.#options.bounds)
    if (state === this.#state) return undefined
    const { own, schema } = this.#options
    const { rows } = await own.query<AlertRow>(moveAlert(schema, { name, state, score, node }))
    if (rows[0] === undefined) {
      await this.read()
      return undefined
    }
    this.#take(rows[0])
    return state === 'firing' ? 'firing' : 'recovered'
  }

  #take(row: AlertRow | undefined): void {
    this.#state = row?.state ?? 'ok'
    this.#sinceMs = row?.since_ms ?? null
  }
}

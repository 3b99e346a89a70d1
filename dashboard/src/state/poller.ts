import type { DashboardData } from '../../../src/monitor/model/dashboard-data.ts'
import type { Failure } from './failure.ts'
import { fetchData } from './fetch-data.ts'

const everyMs = 2_000
const slowestMs = 30_000

export interface PollState {
  readonly data?: DashboardData
  /** Time of arrival by this browser's clock, milliseconds since the epoch. */
  readonly receivedAt?: number
  /** Reason why the last request has no answer. */
  readonly failure?: Failure
  /** Time at which the next request is due after a failure, in milliseconds since the epoch. */
  readonly nextTryAt?: number
  readonly isPaused: boolean
  /** The answer to the chosen window is still on its way. */
  readonly isChanging: boolean
}

/** Asks for the data every two seconds; less often after failures, and not at all in a hidden tab or when paused. */
export class Poller {
  #state: PollState = { isPaused: false, isChanging: true }
  #minutes: number
  #failures = 0
  #timer: ReturnType<typeof setTimeout> | undefined
  #asking: AbortController | undefined
  readonly #listeners = new Set<() => void>()

  constructor(minutes: number) {
    this.#minutes = minutes
  }

  readonly get = (): PollState => this.#state

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** @returns a function that stops it */
  start(): () => void {
    const onVisibility = (): void => {
      if (document.hidden) this.#halt()
      else if (!this.#state.isPaused) this.askNow()
    }
    document.addEventListener('visibilitychange', onVisibility)
    this.askNow()
    return () => {
      document.removeEventListener('visibilitychange', onVisibility)
      this.#halt()
    }
  }

  choose(minutes: number): void {
    if (minutes === this.#minutes) return
    this.#minutes = minutes
    this.#set({ ...this.#state, isChanging: true })
    this.askNow()
  }

  pause(isPaused: boolean): void {
    this.#set({ ...this.#state, isPaused })
    if (isPaused) this.#halt()
    else this.askNow()
  }

  /** Asks at once; when paused, once. */
  readonly askNow = (): void => {
    this.#halt()
    this.#asking = new AbortController()
    void this.#ask(this.#asking.signal)
  }

  async #ask(signal: AbortSignal): Promise<void> {
    const answer = await fetchData(this.#minutes, signal)
    // Ignore an aborted answer: a newer question has replaced it, or none is wanted.
    if (answer === undefined) return
    if (answer.ok) this.#received(answer.data)
    else this.#failed(answer.failure)
  }

  #received(data: DashboardData): void {
    this.#failures = 0
    this.#set({ data, receivedAt: Date.now(), isPaused: this.#state.isPaused, isChanging: false })
    this.#askIn(everyMs)
  }

  #failed(failure: Failure): void {
    const delayMs =
      failure.kind === 'forbidden' ? slowestMs : Math.min(everyMs * 2 ** this.#failures, slowestMs)
    this.#failures += 1
    const { data, receivedAt, isPaused } = this.#state
    // Drop the data shown before for a reader who is no longer admitted.
    const kept =
      data === undefined || receivedAt === undefined || failure.kind === 'forbidden'
        ? {}
        : { data, receivedAt }
    this.#set({ ...kept, failure, nextTryAt: Date.now() + delayMs, isPaused, isChanging: false })
    this.#askIn(delayMs)
  }

  #askIn(delayMs: number): void {
    if (this.#state.isPaused || document.hidden) return
    this.#timer = setTimeout(this.askNow, delayMs)
  }

  #halt(): void {
    clearTimeout(this.#timer)
    this.#asking?.abort()
  }

  #set(state: PollState): void {
    this.#state = state
    for (const listener of this.#listeners) listener()
  }
}

import { messageOf, type Clock, type Logger } from '../core/index.ts'

const firstPauseMs = 500
const longestPauseMs = 5_000

/** Keeps work that needs the database away from it while it is away: one warning, growing pauses, one all-clear. */
export class Outage {
  readonly #clock: Clock
  readonly #logger: Logger
  #pauseMs = 0
  #untilMs = 0

  constructor(clock: Clock, logger: Logger) {
    this.#clock = clock
    this.#logger = logger
  }

  get isOver(): boolean {
    return this.#pauseMs === 0
  }

  get mayTry(): boolean {
    return this.#clock.monotonic() >= this.#untilMs
  }

  failed(error: unknown): void {
    if (this.#pauseMs === 0) {
      this.#logger.warn(
        { error: messageOf(error) },
        'the health monitor cannot use the database; it keeps in memory what it can',
      )
    }
    this.#pauseMs = Math.min(longestPauseMs, this.#pauseMs === 0 ? firstPauseMs : this.#pauseMs * 2)
    this.#untilMs = this.#clock.monotonic() + this.#pauseMs
  }

  succeeded(): void {
    if (this.#pauseMs === 0) return
    this.#pauseMs = 0
    this.#untilMs = 0
    this.#logger.info({}, 'the health monitor uses the database again')
  }
}

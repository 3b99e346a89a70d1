import type { DatabaseClock } from './database-clock.ts'

interface Sample {
  /** Database minus monotonic, in milliseconds. */
  readonly offsetMs: number
  /** Half of the round trip: where in it the database looked at its clock is not known. */
  readonly errorMs: number
  readonly takenAt: number
}

const keptSamples = 16
/** Two quartz clocks part by less than 100 parts in a million. */
const driftPerMs = 0.0001

/**
 * Learns the database's clock from questions that it answers with its time, as NTP does (RFC 5905, section 8): the
 * answer with the shortest round trip is the best, until it is too old.
 */
export class ClockAlignment implements DatabaseClock {
  #samples: Sample[] = []
  #best: Sample = { offsetMs: performance.timeOrigin, errorMs: Number.POSITIVE_INFINITY, takenAt: 0 }

  /** @param databaseMs the time that the database answered; the other two are monotonic milliseconds of this node */
  observe(askedAt: number, answeredAt: number, databaseMs: number): void {
    if (!Number.isFinite(databaseMs) || answeredAt < askedAt) return
    const sample: Sample = {
      offsetMs: databaseMs - (askedAt + answeredAt) / 2,
      errorMs: (answeredAt - askedAt) / 2,
      takenAt: answeredAt,
    }
    this.#samples = [...this.#samples.slice(1 - keptSamples), sample]
    const errorNow = ({ errorMs, takenAt }: Sample): number => errorMs + (answeredAt - takenAt) * driftPerMs
    this.#best = this.#samples.reduce(
      (best, next) => (errorNow(next) <= errorNow(best) ? next : best),
      sample,
    )
  }

  toDatabaseMs(monotonicMs: number): number {
    return monotonicMs + this.#best.offsetMs
  }

  /** Infinite before the first answer. */
  get errorMs(): number {
    return this.#best.errorMs
  }
}

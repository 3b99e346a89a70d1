import type { Random } from '../faults/random.ts'

/** Ending of a question to the database. */
export type QuestionFate = 'fine' | 'requestLost' | 'replyLost'
/** Ending of a COMMIT. `late`: its node has lost the connection before it arrives. */
export type CommitFate = QuestionFate | 'late' | 'conflict'

/** Chance on every leg, from one stream of numbers; in the calm at the end no fault happens. */
export class Weather {
  readonly #random: Random
  /** Stream of numbers for the turns of replies, so that the other chances do not depend on how many join. */
  readonly #turns: Random
  isCalm = false

  constructor(random: Random) {
    this.#random = random
    this.#turns = random.fork('turns')
  }

  /** Time of one way, in milliseconds. */
  latencyMs(): number {
    if (this.isCalm) return this.#random.between(1, 3)
    return this.#random.chance(0.03) ? this.#random.between(50, 1_500) : this.#random.between(1, 15)
  }

  /** Time of the answer to COMMIT, which a failover may overtake. */
  replyMs(): number {
    if (this.isCalm) return this.#random.between(1, 3)
    return this.#random.chance(0.15) ? this.#random.between(50, 1_500) : this.#random.between(1, 15)
  }

  /** Time until a reply to a join may be written: others come before it, and a peer may be slow to take them. */
  turnMs(): number {
    if (this.isCalm) return this.#turns.between(0, 1)
    return this.#turns.chance(0.2) ? this.#turns.between(20, 400) : this.#turns.between(0, 5)
  }

  /** Time until a broken connection is noticed. */
  noticeMs(): number {
    return this.#random.chance(0.2) ? this.#random.between(200, 2_000) : this.#random.between(1, 50)
  }

  questionFate(): QuestionFate {
    if (this.isCalm || this.#random.chance(0.96)) return 'fine'
    return this.#random.pick(['requestLost', 'replyLost'])
  }

  commitFate(): CommitFate {
    if (this.isCalm || this.#random.chance(0.75)) return 'fine'
    return this.#random.pick(['requestLost', 'replyLost', 'replyLost', 'late', 'conflict'])
  }

  /** Time that a server takes from the flush to the end of COMMIT. */
  commitMs(): number {
    if (this.isCalm) return 1
    return this.#random.chance(0.1) ? this.#random.between(100, 2_500) : this.#random.between(1, 10)
  }

  /** Delay of a COMMIT whose connection is gone. */
  lateMs(): number {
    return this.#random.between(1, 4_000)
  }

  /** Delays after which a message of the bus arrives: none where it is lost, two where it comes twice. */
  deliveries(): readonly number[] {
    if (this.isCalm) return [this.#random.between(1, 3)]
    if (this.#random.chance(0.2)) return []
    const once = this.#random.between(1, 40)
    return this.#random.chance(0.15) ? [once, this.#random.between(1, 3_000)] : [once]
  }

  chance(probability: number): boolean {
    return !this.isCalm && this.#random.chance(probability)
  }
}

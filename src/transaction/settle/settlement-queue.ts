import { whenSettled, type Clock } from '../../core/index.ts'
import type { QueuedSettlement } from './channel-trouble.ts'
import { SettlementPlan, type BatchFailure, type SettlementBatch } from './settlement-plan.ts'

/** Target of a queue: sends settlements, and says what they share and what their errors mean. */
export interface SettlementTarget<Asked, Answer> {
  /** Settles some in one statement, all or none. Answers in their order. `isAgain`: some were held up or refused before. */
  readonly send: (asked: readonly Asked[], isAgain: boolean) => Promise<readonly Answer[]>
  /** Names what two settlements share that one of them may hold up, such as a channel; undefined: they share nothing. */
  readonly channelOf: (asked: Asked) => string | undefined
  readonly failureOf: (error: unknown) => BatchFailure
}

export interface QueueLimits {
  /** How long one that is held up is tried again before its asker is told, in milliseconds. */
  readonly patienceMs: number
  /** Statements under way at once. */
  readonly width: number
}

export interface AskOptions {
  /** Set where the settlement was held up before: it goes alone. */
  readonly isSuspect?: boolean | undefined
  /** Set where nobody waits for the settlement: such go one statement at a time, behind those that somebody waits for. */
  readonly isOrphan?: boolean | undefined
  /** Asks, before another try, whether to stop; true ends the search, and the question fails with its last error. */
  readonly isStopping?: (() => boolean) | undefined
}

interface Entry<Asked, Answer> extends QueuedSettlement {
  readonly asked: Asked
  readonly resolve: (answer: Answer) => void
  readonly reject: (error: unknown) => void
}

/** Gathers settlements into statements, in the turns that `SettlementPlan` gives them. */
export class SettlementQueue<Asked, Answer> {
  readonly #target: SettlementTarget<Asked, Answer>
  readonly #clock: Clock
  readonly #plan: SettlementPlan<Entry<Asked, Answer>>
  #cancelWait = (): void => {}

  constructor(target: SettlementTarget<Asked, Answer>, clock: Clock, { width, patienceMs }: QueueLimits) {
    this.#target = target
    this.#clock = clock
    this.#plan = new SettlementPlan(width, patienceMs)
  }

  /** @throws errors of `send`; for a question that is held up, once `patienceMs` have passed */
  ask(asked: Asked, { isSuspect = false, isOrphan = false, isStopping }: AskOptions = {}): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const channel = this.#target.channelOf(asked)
      const entry = { asked, channel, resolve, reject, isStopping, isSuspect, isOrphan }
      this.#plan.add(entry, this.#clock.monotonic())
      this.#goOn()
    })
  }

  /** Does what the plan says until there is nothing to do for now. */
  #goOn(): void {
    this.#cancelWait()
    this.#cancelWait = () => {}
    for (;;) {
      const nowMs = this.#clock.monotonic()
      const next = this.#plan.next(nowMs)
      if (next.step === 'wait') {
        if (next.untilMs !== undefined)
          this.#cancelWait = this.#clock.after(Math.max(next.untilMs - nowMs, 0), () => this.#goOn())
        return
      }
      if (next.step === 'send') this.#send(next.batch)
      else for (const { reject } of next.entries) reject(next.error)
    }
  }

  #send(batch: SettlementBatch<Entry<Asked, Answer>>): void {
    const { entries, trouble } = batch
    whenSettled(
      this.#target.send(
        entries.map(({ asked }) => asked),
        trouble !== undefined,
      ),
      (answers) => {
        entries.forEach(({ resolve }, index) => resolve(answers[index] as Answer))
        this.#plan.answered(batch)
        this.#goOn()
      },
      (error: unknown) => {
        const failure = this.#target.failureOf(error)
        const lost = this.#plan.failed(batch, failure, error, this.#clock.monotonic())
        for (const { reject } of lost) reject(error)
        this.#goOn()
      },
    )
  }
}

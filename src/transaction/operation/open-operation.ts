import type { Mode } from '../../core/index.ts'
import type { OperationKey } from '../../postgres/index.ts'
import type { Intent } from '../intents/intent-writer.ts'
import { Interruption } from './interruption.ts'

/** An operation this process works on. It may be answered before it has ended: its first answer counts. */
export class OpenOperation<Answer> {
  readonly key: OperationKey
  /** Mode of the operation, known once it begins. */
  mode: Mode = 'enforce'
  /** Tells the user nothing of a rollback. */
  isQuiet = false
  /** Monotonic time, in milliseconds. */
  readonly beganAt: number
  readonly interruption = new Interruption()
  /** Absent where none is written. */
  intent: Intent | undefined
  /** The first answer, for the caller, who waits for it from the start, and for every copy of the same call. */
  answered: Promise<Answer>
  /** Settles when this process has nothing left to do for it. Never rejects. */
  readonly ended: Promise<void>
  #resolve!: (answer: Answer) => void
  #reject!: (error: unknown) => void

  constructor(
    key: OperationKey,
    beganAt: number,
    run: (operation: OpenOperation<Answer>) => Promise<Answer>,
  ) {
    this.key = key
    this.beganAt = beganAt
    this.answered = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    this.ended = run(this).then(
      (answer) => this.#end(() => this.answer(answer)),
      (error: unknown) => this.#end(() => this.fail(error)),
    )
  }

  /** The mode that decides whether its user gets the notice of a rollback. */
  get reportedMode(): Mode {
    return this.isQuiet ? 'off' : this.mode
  }

  answer(answer: Answer): void {
    this.#resolve(answer)
  }

  fail(error: unknown): void {
    this.#reject(error)
  }

  /**
   * Lets go of the answer, and of all that hangs on it. The table of open operations is always written to; V8 leaves a
   * trail of the tables it had, by which the garbage collector keeps many that have ended until it runs in full.
   */
  #end(tell: () => void): void {
    tell()
    this.answered = gone
    this.intent = undefined
    this.#resolve = () => {}
    this.#reject = () => {}
  }
}

const gone = new Promise<never>(() => {})

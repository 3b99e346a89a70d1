import type { Mode } from '../core/index.ts'
import type { OperationKey } from '../postgres/index.ts'
import type { Intent } from './intent-writer.ts'

/** An operation this process works on. It may be answered before it has ended: its first answer counts. */
export class OpenOperation<Answer> {
  readonly key: OperationKey
  /** Known once it begins. */
  mode: Mode = 'enforce'
  /** In monotonic milliseconds. */
  beganAt = 0
  /** Absent where none is written. */
  intent: Intent | undefined
  /** The first answer, for the caller and for every copy of the same call. */
  readonly answered: Promise<Answer>
  /** Settles when this process has nothing left to do for it. Never rejects. */
  readonly ended: Promise<void>
  #resolve!: (answer: Answer) => void
  #reject!: (error: unknown) => void

  constructor(key: OperationKey, run: (operation: OpenOperation<Answer>) => Promise<Answer>) {
    this.key = key
    this.answered = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    // A caller that has gone away leaves the answer unheard.
    this.answered.catch(() => {})
    this.ended = run(this).then(
      (answer) => this.answer(answer),
      (error: unknown) => this.fail(error),
    )
  }

  answer(answer: Answer): void {
    this.#resolve(answer)
  }

  fail(error: unknown): void {
    this.#reject(error)
  }
}

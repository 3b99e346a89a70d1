import { mutationPoint } from '../../protocol/mutation-point.ts'
import { LockstepError, type SavepointStatement, type SavepointWatch } from '../../core/index.ts'
import type { Cuttable } from '../parts/contributions.ts'

interface Savepoint {
  readonly name: string
  /** Marks of the lists of contributions, in their order. */
  readonly marks: readonly number[]
}

/**
 * Keeps what an operation has contributed in step with the savepoints of its transaction: what was contributed after one
 * was set goes when the database has rolled back to it, whoever sent the statements. What is contributed while a statement
 * is on its way belongs behind it, as the next statement would.
 */
export class SavepointMarks {
  readonly #parts: Cuttable[] = []
  /** Open savepoints from the outermost to the innermost; a name may occur more than once, and means the last. */
  #open: Savepoint[] = []
  #hasLostTrack = false
  /** Issued, and not yet answered. */
  #undosOnTheirWay = 0

  /** Contributions to be cut back. Called before the first statement. */
  add(contributions: Cuttable): void {
    this.#parts.push(contributions)
  }

  readonly watch: SavepointWatch = (statement) => {
    let marks = this.#parts.map((part) => part.mark())
    const undos = statement.verb === 'undo' ? 1 : 0
    this.#undosOnTheirWay += undos
    return (isCarriedOut) => {
      this.#undosOnTheirWay -= undos
      if (mutationPoint('savepoint marked when its answer comes'))
        marks = this.#parts.map((part) => part.mark())
      if (isCarriedOut) this.#move(statement, marks)
    }
  }

  /**
   * Checks the savepoints once the work has returned. Only a ROLLBACK TO takes anything back; a savepoint that is still
   * being set or released moves nothing.
   * @throws LS_STATEMENT_UNSUPPORTED when a savepoint was rolled back of which nothing is known, or is being rolled back
   */
  assertSettled(): void {
    if (this.#undosOnTheirWay > 0) {
      throw new LockstepError('LS_STATEMENT_UNSUPPORTED', {
        message:
          'The operation returned while a ROLLBACK TO SAVEPOINT was on its way, so it is not known which of its ' +
          'events stand. Await every statement and every nested transaction before the operation returns.',
      })
    }
    this.#assertOnTrack()
  }

  #assertOnTrack(): void {
    if (!this.#hasLostTrack) return
    throw new LockstepError('LS_STATEMENT_UNSUPPORTED', {
      message:
        'A savepoint was rolled back whose name Lockstep has not seen when it was set, so what was emitted since ' +
        'is not known. Write its name with letters of ASCII.',
    })
  }

  #move({ verb, name }: SavepointStatement, marks: readonly number[]): void {
    if (verb === 'set') {
      this.#open.push({ name, marks })
      return
    }
    const index = this.#open.findLastIndex((savepoint) => savepoint.name === name)
    const savepoint = this.#open[index]
    if (savepoint === undefined) {
      if (verb === 'release') return
      this.#hasLostTrack = true
      return this.#assertOnTrack()
    }
    // The savepoints within go with it; ROLLBACK TO leaves the savepoint itself.
    this.#open.length = verb === 'undo' ? index + 1 : index
    if (verb === 'release') return
    for (const [part, until] of marks.entries()) {
      if (mutationPoint('events of a savepoint kept that was rolled back')) continue
      this.#parts[part]?.cut(savepoint.marks[part] ?? 0, until)
    }
  }
}

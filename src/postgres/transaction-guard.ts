import { LockstepError, type Queryable, type Statement } from '../core/index.ts'

/** Tells which handle of a transaction may be used right now. Handles nest: a savepoint scope is a child. */
export class TransactionGuard {
  #ended = false
  #child: TransactionGuard | undefined
  readonly #parent: TransactionGuard | undefined

  constructor(parent?: TransactionGuard) {
    this.#parent = parent
  }

  /** The guard of a nested scope; this one refuses statements until it has ended. */
  nest(): TransactionGuard {
    this.assertUsable()
    this.#child = new TransactionGuard(this)
    return this.#child
  }

  end(): void {
    this.#ended = true
    if (this.#parent !== undefined) this.#parent.#child = undefined
  }

  /** @throws LS_TRANSACTION_CLOSED, LS_SAVEPOINT_OPEN */
  assertUsable(): void {
    this.assertOpen()
    if (this.#child !== undefined) {
      throw new LockstepError('LS_SAVEPOINT_OPEN', {
        message:
          'A nested transaction is open: use its handle, or await its end. ' +
          'A statement of the outer one would be undone with it.',
      })
    }
  }

  /** @throws LS_TRANSACTION_CLOSED */
  assertOpen(): void {
    if (this.#isEnded()) {
      throw new LockstepError('LS_TRANSACTION_CLOSED', {
        message:
          'This statement came after its transaction had ended, and was not sent. ' +
          'Await every statement before the operation returns.',
      })
    }
  }

  #isEnded(): boolean {
    return this.#ended || (this.#parent !== undefined && this.#parent.#isEnded())
  }
}

/** Sends Lockstep's own statements for as long as the guard is open: afterwards the connection is somebody else's. */
export function whileOpen(own: Queryable, guard: TransactionGuard): Queryable {
  return {
    async query<Row>(statement: Statement) {
      guard.assertOpen()
      return own.query<Row>(statement)
    },
  }
}

import { assertOperationId, assertWholeNumbers, LockstepError, newOperationId } from '../core/index.ts'
import { toUser } from '../operations/index.ts'
import { toAscii } from '../postgres/index.ts'
import type { Transaction } from '../transaction/index.ts'
import type { Rooms } from './compose.ts'
import type { TransactionOptions } from './options.ts'

/** Runs operations that have a name and no declaration. */
export class UndeclaredOperations<Db> {
  readonly #rooms: Pick<Rooms<Db>, 'coordinator' | 'guard' | 'life'>

  constructor(rooms: Pick<Rooms<Db>, 'coordinator' | 'guard' | 'life'>) {
    this.#rooms = rooms
  }

  /**
   * Returns what `work` returns, after the COMMIT.
   * @throws LS_OPERATION_ID_INVALID, what means "not accepted", LS_OUTCOME_PENDING, and what made it roll back
   */
  async run<Result>(
    options: TransactionOptions,
    work: (tx: Transaction<Db>) => Promise<Result>,
  ): Promise<Result> {
    const { coordinator, guard, life } = this.#rooms
    const { name, timeoutMs } = options
    // Capture the caller before anything is awaited: the stack still names it.
    const origin = name.startsWith('lockstep.') ? undefined : guard?.called(name)
    const since = coordinator.earliestArrival
    const id = options.id ?? newOperationId()
    // The id becomes part of a statement's text.
    assertOperationId(id)
    assertWholeNumbers({ timeoutMs })
    await life.start()
    const { outcome, error } = await coordinator.run({
      id,
      name,
      since,
      user: toUser(options.user),
      // Hash the name where no input is declared: it is all that tells one operation from another.
      // In ASCII, as each database can give it back.
      inputHash: toAscii(name),
      rollback: options.rollback ?? {},
      intent: options.intent ?? true,
      repeat: options.repeat,
      signal: options.signal,
      timeoutMs,
      origin,
      work,
    })
    if (outcome.outcome === 'committed') return outcome.result
    throw error ?? new LockstepError('LS_OPERATION_FAILED', { details: { notice: outcome.notice } })
  }
}

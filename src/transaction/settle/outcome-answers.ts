import { mutationPoint } from '../../protocol/mutation-point.ts'
import { limits, type OutcomeAnswer } from '../../protocol/index.ts'
import {
  assertOperationId,
  isLockstepError,
  LockstepError,
  type Clock,
  type UserContext,
} from '../../core/index.ts'
import type { OperationRow } from '../../postgres/index.ts'
import { ClosingQuota } from './closing-quota.ts'
import type { Settler } from './settlement.ts'
import type { StoredOutcomes } from './stored-outcomes.ts'

/** Answers clients that lost the reply to an operation, and closes the ids of which nobody has heard. */
export class OutcomeAnswers {
  readonly #outcomes: StoredOutcomes
  readonly #settler: Pick<Settler, 'closeUnheard'>
  readonly #closings: ClosingQuota

  constructor(outcomes: StoredOutcomes, settler: Pick<Settler, 'closeUnheard'>, clock: Clock) {
    this.#outcomes = outcomes
    this.#settler = settler
    this.#closings = new ClosingQuota(clock, {
      burst: limits.maxClosedIds,
      perSecond: limits.closedIdsPerSecond,
    })
  }

  /**
   * Answers for some ids of one user. An id that nobody has heard of is closed for its user, so that a late copy of
   * the call cannot commit any more; an id that is older than outcomes are kept is answered as such, since it may have been
   * forgotten; those beyond the user's quota stay open, and are to be asked for again. What other users do with the same id makes no difference, and is not told.
   * @param isOpenHere whether this process works on it, with or without a row to show for it
   * @throws LS_INPUT_INVALID, LS_OPERATION_ID_INVALID
   */
  async answer(
    user: UserContext,
    request: unknown,
    isOpenHere: (id: string) => boolean,
  ): Promise<readonly OutcomeAnswer[]> {
    const ids = toIds(request)
    // Look for open operations before the table is read: one that ends in between has its row.
    const openHere = new Set(ids.filter(isOpenHere))
    const rows = new Map((await this.#outcomes.read(ids, user.id)).map((row) => [row.id, row]))
    const without = ids.filter((id) => !rows.has(id) && !openHere.has(id))
    const open = await this.#outcomes.readOpen(without, user.id)
    const unknown = without.filter((id) => !open.has(id))
    const expired = new Set(unknown.filter((id) => !this.#outcomes.isKept(id)))
    const kept = unknown.filter((id) => !expired.has(id))
    const closable = kept.slice(0, this.#closings.take(user.id, kept.length))
    const beyond = new Set(kept.slice(closable.length))
    const retryAfterMs = this.#closings.waitMs(beyond.size)
    const closed = mutationPoint('unheard id not closed')
      ? new Set(closable)
      : await this.#close(closable, user.id)
    const raced = closable.filter((id) => !closed.has(id))
    for (const row of await this.#outcomes.read(raced, user.id)) rows.set(row.id, row)
    return ids.map((id): OutcomeAnswer => {
      if (closed.has(id)) return { outcome: 'never_received', operationId: id }
      if (expired.has(id)) return { outcome: 'expired', operationId: id }
      if (beyond.has(id)) return { outcome: 'pending', operationId: id, retryAfterMs }
      const row = rows.get(id)
      if (row === undefined) return { outcome: 'pending', operationId: id }
      return isTombstone(row) ? { outcome: 'never_received', operationId: id } : this.#outcomes.outcomeOf(row)
    })
  }

  /** Ids stay open for now while somebody holds the head that a part of theirs appends to. */
  async #close(ids: readonly string[], userId: string): Promise<ReadonlySet<string>> {
    try {
      return await this.#settler.closeUnheard(ids, userId)
    } catch (error) {
      if (!isLockstepError(error, 'LS_STATEMENT_TIMEOUT')) throw error
      this.#closings.giveBack(userId, ids.length)
      return new Set()
    }
  }
}

function isTombstone(row: OperationRow): boolean {
  return row.state === 'rolled_back' && row.inputHash === ''
}

function toIds(request: unknown): readonly string[] {
  const ids: unknown =
    typeof request === 'object' && request !== null && 'ids' in request ? request.ids : undefined
  if (!Array.isArray(ids) || ids.length > limits.maxOutcomeIds) {
    throw new LockstepError('LS_INPUT_INVALID', {
      message: `Send { "ids": […] } with at most ${limits.maxOutcomeIds} operation ids.`,
    })
  }
  for (const id of ids as readonly unknown[]) assertOperationId(id)
  return [...new Set(ids as readonly string[])]
}

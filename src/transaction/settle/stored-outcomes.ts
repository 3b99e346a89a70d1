import { mutationPoint } from '../../protocol/mutation-point.ts'
import {
  type Notice,
  type Outcome,
  type OutcomeAnswer,
  type Positions,
  limits,
} from '../../protocol/index.ts'
import {
  assertNotExpired,
  assertOperationId,
  isLockstepError,
  isExpired,
  LockstepError,
  type Clock,
  type Offsets,
  type OperationRef,
  type Queryable,
  type Statement,
  type UserContext,
} from '../../core/index.ts'
import { readOpen, readOperations, toOperationRow, type OperationRow } from '../../postgres/index.ts'
import { ClosingQuota } from './closing-quota.ts'
import { createNotice } from './notice.ts'
import { fromJson, type Settlement } from './outcome-search.ts'
import type { Settler } from './settlement.ts'

export interface StoredOutcomesOptions {
  readonly own: Queryable
  readonly schema: string
  readonly clock: Clock
  readonly settler: Pick<Settler, 'closeUnheard'>
  /** How long outcomes are kept, in milliseconds. */
  readonly retentionMs: number
}

/** Facts that tell a repeated operation from an id that its user uses again for another one. */
export interface Claim {
  readonly userId: string
  readonly inputHash: string
}

/** Reads outcomes back from the database: for copies of an operation, and for clients that lost the reply. */
export class StoredOutcomes {
  readonly #options: StoredOutcomesOptions
  readonly #closings: ClosingQuota

  constructor(options: StoredOutcomesOptions) {
    this.#options = options
    this.#closings = new ClosingQuota({
      clock: options.clock,
      burst: limits.maxClosedIds,
      perSecond: limits.closedIdsPerSecond,
    })
  }

  /** @throws LS_OPERATION_EXPIRED for an id that is older than outcomes are kept */
  assertKept(id: string): void {
    const { clock, retentionMs } = this.#options
    assertNotExpired(id, retentionMs, clock.now())
  }

  #isKept(id: string): boolean {
    const { clock, retentionMs } = this.#options
    return !isExpired(id, retentionMs, clock.now())
  }

  /** Whether the operation has ended. @throws database errors */
  async has({ id, userId }: OperationRef): Promise<boolean> {
    return (await this.#read([id], userId)).length > 0
  }

  /**
   * The outcome of an operation that has ended.
   * @throws LS_OPERATION_ID_REUSED, LS_OPERATION_FENCED when it is gone, LS_OUTCOME_PENDING when it cannot be read
   */
  async find(id: string, claim: Claim): Promise<Outcome> {
    const [row] = await this.#read([id], claim.userId).catch((error: unknown) => {
      throw new LockstepError('LS_OUTCOME_PENDING', { cause: error })
    })
    if (row === undefined) throw new LockstepError('LS_OPERATION_FENCED')
    assertSameInput(row, claim)
    return this.#outcomeOf(row)
  }

  /**
   * The outcome of an earlier call with the same id, user and input; undefined where none is known.
   * @throws LS_OPERATION_EXPIRED when it may have been forgotten; LS_OUTCOME_PENDING while it runs, or cannot be read
   */
  async recall(id: string, claim: Claim): Promise<Outcome | undefined> {
    this.assertKept(id)
    let isOpen: boolean
    let row: OperationRow | undefined
    try {
      // Ask in this order: an operation that ends in between has its row.
      isOpen = (await this.#readOpen([id], claim.userId)).size > 0
      row = (await this.#read([id], claim.userId))[0]
    } catch (error) {
      throw new LockstepError('LS_OUTCOME_PENDING', { cause: error })
    }
    if (row !== undefined) return row.inputHash === claim.inputHash ? this.#outcomeOf(row) : undefined
    if (isOpen) throw new LockstepError('LS_OUTCOME_PENDING')
    return undefined
  }

  /**
   * Answers a client that lost the reply. An id that nobody has heard of is closed for its user, so that a late copy of
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
    const rows = new Map((await this.#read(ids, user.id)).map((row) => [row.id, row]))
    const without = ids.filter((id) => !rows.has(id) && !openHere.has(id))
    const open = await this.#readOpen(without, user.id)
    const unknown = without.filter((id) => !open.has(id))
    const expired = new Set(unknown.filter((id) => !this.#isKept(id)))
    const kept = unknown.filter((id) => !expired.has(id))
    const closable = kept.slice(0, this.#closings.take(user.id, kept.length))
    const beyond = new Set(kept.slice(closable.length))
    const retryAfterMs = this.#closings.waitMs(beyond.size)
    const closed = mutationPoint('unheard id not closed')
      ? new Set(closable)
      : await this.#close(closable, user.id)
    const raced = closable.filter((id) => !closed.has(id))
    for (const row of await this.#read(raced, user.id)) rows.set(row.id, row)
    return ids.map((id): OutcomeAnswer => {
      if (closed.has(id)) return { outcome: 'never_received', operationId: id }
      if (expired.has(id)) return { outcome: 'expired', operationId: id }
      if (beyond.has(id)) return { outcome: 'pending', operationId: id, retryAfterMs }
      const row = rows.get(id)
      if (row === undefined) return { outcome: 'pending', operationId: id }
      return isTombstone(row) ? { outcome: 'never_received', operationId: id } : this.#outcomeOf(row)
    })
  }

  /** Turns the result of a settlement into the outcome that goes to the user. */
  toOutcome(id: string, settled: Settlement, notice: Notice): Outcome {
    if (settled.state === 'rolled_back') {
      return { outcome: 'rolled_back', operationId: id, notice: settled.notice ?? notice }
    }
    return {
      outcome: 'committed',
      operationId: id,
      result: settled.result,
      positions: positionsIn(settled.epoch, settled.offsets),
    }
  }

  #outcomeOf(row: OperationRow): Outcome {
    const settled: Settlement =
      row.state === 'committed'
        ? { state: 'committed', result: fromJson(row.result), offsets: row.offsets, epoch: row.epoch }
        : { state: 'rolled_back', notice: row.notice }
    // Create a notice for an id that was closed before its call arrived: it alone has none of its own.
    const notice = createNotice({
      operationId: row.id,
      operationName: row.name,
      rollback: {},
      code: 'LS_OPERATION_FENCED',
      affectedLayers: ['database'],
    })
    return this.toOutcome(row.id, settled, notice)
  }

  async #read(ids: readonly string[], userId: string): Promise<readonly OperationRow[]> {
    if (ids.length === 0) return []
    const { rows } = await this.#options.own.query(readOperations(this.#options.schema, userId, ids))
    return rows.map(toOperationRow)
  }

  /** Ids of operations that run on another node, or that a dead node left open. */
  #readOpen(ids: readonly string[], userId: string): Promise<ReadonlySet<string>> {
    return this.#idsOf(ids, readOpen(this.#options.schema, userId, ids))
  }

  /** Ids stay open for now while somebody holds the head that a part of theirs appends to. */
  async #close(ids: readonly string[], userId: string): Promise<ReadonlySet<string>> {
    try {
      return await this.#options.settler.closeUnheard(ids, userId)
    } catch (error) {
      if (!isLockstepError(error, 'LS_STATEMENT_TIMEOUT')) throw error
      this.#closings.giveBack(userId, ids.length)
      return new Set()
    }
  }

  async #idsOf(ids: readonly string[], statement: Statement): Promise<ReadonlySet<string>> {
    if (ids.length === 0) return new Set()
    const { rows } = await this.#options.own.query<{ readonly id: string }>(statement)
    return new Set(rows.map((row) => row.id))
  }
}

/** Positions of the events of an operation, in the history that its outcome was read in. */
export function positionsIn(epoch: string, offsets: Offsets): Positions {
  return Object.fromEntries(
    Array.from(offsets, ([channel, offset]) => [
      channel,
      { offset: mutationPoint('positions of a reply one too far') ? offset + 1 : offset, epoch },
    ]),
  )
}

/** @throws LS_OPERATION_ID_REUSED */
export function assertSameInput(known: Claim, claim: Claim): void {
  if (mutationPoint('outcome answered for another input')) return
  // An id that was closed before its call arrived has no digest.
  if (known.inputHash === '' || known.inputHash === claim.inputHash) return
  throw new LockstepError('LS_OPERATION_ID_REUSED')
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

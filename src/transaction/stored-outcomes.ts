import type { Notice, Outcome, OutcomeAnswer, Positions } from '../protocol/index.ts'
import { limits } from '../protocol/index.ts'
import {
  assertNotExpired,
  assertOperationId,
  LockstepError,
  type Clock,
  type Offsets,
  type Queryable,
  type UserContext,
} from '../core/index.ts'
import {
  closeUnknownOperations,
  readOpen,
  readOperations,
  toOperationRow,
  type OpenRow,
  type OperationRow,
} from '../postgres/index.ts'
import { createNotice } from './notice.ts'
import { fromJson, type SettledOperation } from './settlement.ts'

export interface StoredOutcomesOptions {
  readonly own: Queryable
  readonly schema: string
  readonly clock: Clock
  /** The history that offsets belong to. */
  readonly epoch: () => string
  /** How long outcomes are kept, in milliseconds. */
  readonly retentionMs: number
}

/** What tells a repeated operation from an id that is used again for something else. */
export interface Claim {
  readonly userId: string
  readonly inputHash: string
}

/** Reads outcomes back from the database: for copies of an operation, and for clients that lost the reply. */
export class StoredOutcomes {
  readonly #options: StoredOutcomesOptions

  constructor(options: StoredOutcomesOptions) {
    this.#options = options
  }

  /**
   * The outcome of an operation that has ended.
   * @throws LS_OPERATION_ID_REUSED, LS_OPERATION_FENCED when it is gone, LS_OUTCOME_PENDING when it cannot be read
   */
  async find(id: string, claim: Claim): Promise<Outcome> {
    const [row] = await this.#read([id]).catch((error: unknown) => {
      throw new LockstepError('LS_OUTCOME_PENDING', { cause: error })
    })
    if (row === undefined) throw new LockstepError('LS_OPERATION_FENCED')
    assertSameOperation(row, claim)
    return this.#outcomeOf(row)
  }

  /**
   * Answers a client that lost the reply. An id that nobody has heard of is closed for good, so that a late copy
   * of the call cannot commit any more.
   * @param userOfOpen whose operation it is, if this process works on it, with or without a row to show for it
   * @throws LS_INPUT_INVALID, LS_OPERATION_ID_INVALID, LS_FORBIDDEN for an operation of another user,
   * LS_OPERATION_EXPIRED for one that may have been forgotten since
   */
  async answer(
    user: UserContext,
    request: unknown,
    userOfOpen: (id: string) => string | undefined,
  ): Promise<readonly OutcomeAnswer[]> {
    const ids = toIds(request)
    const rows = new Map((await this.#read(ids)).map((row) => [row.id, row]))
    // Before anything is written or answered: a question about somebody else's operation gets nothing at all.
    assertAllOwn(rows.values(), user)
    const here = new Map<string, OpenRow>()
    for (const id of ids) {
      const userId = rows.has(id) ? undefined : userOfOpen(id)
      if (userId !== undefined) here.set(id, { id, userId })
    }
    assertAllOwn(here.values(), user)
    const without = ids.filter((id) => !rows.has(id) && !here.has(id))
    const open = await this.#readOpen(without)
    assertAllOwn(open.values(), user)
    const unknown = without.filter((id) => !open.has(id))
    const { clock, retentionMs } = this.#options
    for (const id of unknown) assertNotExpired(id, retentionMs, clock.now())
    const closed = await this.#close(unknown, user)
    const raced = unknown.filter((id) => !closed.has(id))
    for (const row of await this.#read(raced)) rows.set(row.id, row)
    assertAllOwn(rows.values(), user)
    return ids.map((id): OutcomeAnswer => {
      if (closed.has(id)) return { outcome: 'never_received', operationId: id }
      const row = rows.get(id)
      if (row === undefined) return { outcome: 'pending', operationId: id }
      return isTombstone(row) ? { outcome: 'never_received', operationId: id } : this.#outcomeOf(row)
    })
  }

  /** What a settlement left, as the outcome that goes to the user. */
  toOutcome(id: string, settled: SettledOperation, notice: Notice): Outcome {
    if (settled.state === 'rolled_back') {
      return { outcome: 'rolled_back', operationId: id, notice: settled.notice ?? notice }
    }
    return {
      outcome: 'committed',
      operationId: id,
      result: settled.result,
      positions: this.positions(settled.offsets),
    }
  }

  positions(offsets: Offsets): Positions {
    const epoch = this.#options.epoch()
    return Object.fromEntries(Array.from(offsets, ([channel, offset]) => [channel, { offset, epoch }]))
  }

  #outcomeOf(row: OperationRow): Outcome {
    const settled: SettledOperation =
      row.state === 'committed'
        ? { state: 'committed', result: fromJson(row.result), offsets: row.offsets }
        : { state: 'rolled_back', notice: row.notice }
    // Only an id that was closed before its call arrived has no notice of its own.
    const notice = createNotice({
      operationId: row.id,
      operationName: row.name,
      rollback: {},
      code: 'LS_OPERATION_FENCED',
      affectedLayers: ['database'],
    })
    return this.toOutcome(row.id, settled, notice)
  }

  async #read(ids: readonly string[]): Promise<readonly OperationRow[]> {
    if (ids.length === 0) return []
    const { rows } = await this.#options.own.query(readOperations(this.#options.schema, ids))
    return rows.map(toOperationRow)
  }

  /** Those that run on another node, or were left open by one that died. */
  async #readOpen(ids: readonly string[]): Promise<ReadonlyMap<string, OpenRow>> {
    if (ids.length === 0) return new Map()
    const { rows } = await this.#options.own.query<OpenRow>(readOpen(this.#options.schema, ids))
    return new Map(rows.map((row) => [row.id, row]))
  }

  async #close(ids: readonly string[], user: UserContext): Promise<ReadonlySet<string>> {
    if (ids.length === 0) return new Set()
    const statement = closeUnknownOperations(this.#options.schema, ids, user.id)
    const { rows } = await this.#options.own.query<{ id: string }>(statement)
    return new Set(rows.map((row) => row.id))
  }
}

/** @throws LS_OPERATION_ID_REUSED */
export function assertSameOperation(known: Claim, claim: Claim): void {
  const closedUnheard = known.inputHash === ''
  if (known.userId === claim.userId && (closedUnheard || known.inputHash === claim.inputHash)) return
  throw new LockstepError('LS_OPERATION_ID_REUSED')
}

function isTombstone(row: OperationRow): boolean {
  return row.state === 'rolled_back' && row.inputHash === ''
}

function assertAllOwn(rows: Iterable<OpenRow>, user: UserContext): void {
  for (const row of rows) {
    if (row.userId !== user.id) {
      throw new LockstepError('LS_FORBIDDEN', { details: { operationId: row.id, askedBy: user.id } })
    }
  }
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

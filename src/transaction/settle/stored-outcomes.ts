import { mutationPoint } from '../../protocol/mutation-point.ts'
import type { Notice, Outcome, Positions } from '../../protocol/index.ts'
import {
  assertNotExpired,
  isExpired,
  LockstepError,
  type Clock,
  type Offsets,
  type OperationRef,
  type Queryable,
} from '../../core/index.ts'
import type { LogAppender } from '../../log/index.ts'
import { readOpen, type OperationRow } from '../../postgres/index.ts'
import { createNotice } from './notice.ts'
import { fromJson, type Settlement } from './outcome-search.ts'

export interface StoredOutcomesOptions {
  readonly own: Queryable
  readonly schema: string
  readonly log: Pick<LogAppender, 'outcomesOf'>
  readonly clock: Clock
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
  readonly #own: Queryable
  readonly #schema: string
  readonly #log: StoredOutcomesOptions['log']
  readonly #clock: Clock
  readonly #retentionMs: number

  constructor({ own, schema, log, clock, retentionMs }: StoredOutcomesOptions) {
    this.#own = own
    this.#schema = schema
    this.#log = log
    this.#clock = clock
    this.#retentionMs = retentionMs
  }

  /** @throws LS_OPERATION_EXPIRED for an id that is older than outcomes are kept */
  assertKept(id: string): void {
    assertNotExpired(id, this.#retentionMs, this.#clock.now())
  }

  /** Whether the id is younger than outcomes are kept. */
  isKept(id: string): boolean {
    return !isExpired(id, this.#retentionMs, this.#clock.now())
  }

  /** Whether the operation has ended. @throws database errors */
  async has({ id, userId }: OperationRef): Promise<boolean> {
    return (await this.read([id], userId)).length > 0
  }

  /**
   * The outcome of an operation that has ended.
   * @throws LS_OPERATION_ID_REUSED, LS_OPERATION_FENCED when it is gone, LS_OUTCOME_PENDING when it cannot be read
   */
  async find(id: string, claim: Claim): Promise<Outcome> {
    const [row] = await this.read([id], claim.userId).catch((error: unknown) => {
      throw new LockstepError('LS_OUTCOME_PENDING', { cause: error })
    })
    if (row === undefined) throw new LockstepError('LS_OPERATION_FENCED')
    assertSameInput(row, claim)
    return this.outcomeOf(row)
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
      isOpen = (await this.readOpen([id], claim.userId)).size > 0
      row = (await this.read([id], claim.userId))[0]
    } catch (error) {
      throw new LockstepError('LS_OUTCOME_PENDING', { cause: error })
    }
    if (row !== undefined) return row.inputHash === claim.inputHash ? this.outcomeOf(row) : undefined
    if (isOpen) throw new LockstepError('LS_OUTCOME_PENDING')
    return undefined
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

  outcomeOf(row: OperationRow): Outcome {
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

  /** Rows of the user's operations that have ended. @throws database errors */
  async read(ids: readonly string[], userId: string): Promise<readonly OperationRow[]> {
    if (ids.length === 0) return []
    return this.#log.outcomesOf(userId, ids)
  }

  /** Ids of operations that run on another node, or that a dead node left open. @throws database errors */
  async readOpen(ids: readonly string[], userId: string): Promise<ReadonlySet<string>> {
    if (ids.length === 0) return new Set()
    const statement = readOpen(this.#schema, userId, ids)
    const { rows } = await this.#own.query<{ readonly id: string }>(statement)
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

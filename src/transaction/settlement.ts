import { faultPoint } from '../core/fault-point.ts'
import { coordinationEvents, type Notice } from '../protocol/index.ts'
import {
  isLockstepError,
  LockstepError,
  messageOf,
  noOffsets,
  pause,
  toOffsets,
  userChannel,
  type Clock,
  type Logger,
  type Mode,
  type Offsets,
  type Probe,
  type Queryable,
} from '../core/index.ts'
import type { StoredEvent } from '../events/index.ts'
import {
  forgetOrphans,
  readDecider,
  readOrphans,
  settleOperation,
  settleSilently,
  type OperationKey,
  type OrphanRow,
  type SettleRow,
} from '../postgres/index.ts'

/** What stands in the database after a settlement, whoever decided it. */
export type SettledOperation =
  | {
      readonly state: 'committed'
      readonly result: unknown
      readonly offsets: Offsets
      /** Of the history that it stands in. */
      readonly epoch: string
      /** It was a copy that ran elsewhere. Absent also where nobody asked. */
      readonly isAnothers?: true
    }
  | {
      readonly state: 'rolled_back'
      readonly notice: Notice | null
      /** Somebody else had decided it, and has reported its end. Absent also where that cannot be told. */
      readonly wasDecidedBefore?: true
    }

export interface SettlerOptions {
  readonly own: Queryable
  readonly schema: string
  readonly clock: Clock
  readonly logger: Logger
  readonly probe: Probe
  /** Takes the notice event to its subscribers. */
  readonly announce: (events: readonly StoredEvent[], epoch: string) => void
  /** Longest wait for a COMMIT in flight before the question is asked again. Default 1,000. */
  readonly lockTimeoutMs?: number
}

/** One round over what dead nodes left open. */
export interface OrphanRound {
  readonly noticeFor: (key: OperationKey) => Notice
  /** Operations at most. */
  readonly limit: number
  /** Leases whose operations are brought to their outcome by somebody else. */
  readonly except?: readonly string[]
  /** Asked before each operation: what is left is for another node, or the next start. */
  readonly isStopping?: () => boolean
}

const firstRetryMs = 50
const longestRetryMs = 2_000

/**
 * Brings operations to their outcome. Writing the outcome and appending the notice is one transaction, so
 * "rolled back" and "told" cannot part; and since an operation has one outcome, any number of settlers and a late
 * COMMIT agree on it.
 */
export class Settler {
  readonly #options: SettlerOptions

  constructor(options: SettlerOptions) {
    this.#options = options
  }

  /**
   * One attempt. Waits for a COMMIT in flight at most `lockTimeoutMs`.
   * @throws LS_STATEMENT_TIMEOUT when it is still in flight, and retryable database errors
   */
  async settle(key: OperationKey, notice: Notice, mode: Mode = 'enforce'): Promise<SettledOperation> {
    const { own, schema, lockTimeoutMs = 1_000 } = this.#options
    await faultPoint('settlement.before-settle')
    const statement =
      mode === 'enforce'
        ? settleOperation(schema, key, notice, lockTimeoutMs)
        : settleSilently(schema, key, mode === 'observe' ? notice : undefined, lockTimeoutMs)
    const { rows } = await own.query<SettleRow>(statement)
    await faultPoint('settlement.after-settle')
    const row = rows[0]
    if (row === undefined) throw new LockstepError('LS_CONNECTION_LOST')
    if (row.input_hash !== '' && row.input_hash !== key.inputHash) {
      throw new LockstepError('LS_OPERATION_ID_REUSED')
    }
    if (row.settled) this.#announceNotice(key, notice, row)
    if (row.state === 'committed') {
      return {
        state: 'committed',
        result: fromJson(row.result),
        offsets: toOffsets(row.positions),
        epoch: row.epoch,
      }
    }
    return { state: 'rolled_back', notice: row.notice, ...(row.settled ? {} : { wasDecidedBefore: true }) }
  }

  /** Asks until the answer is there; ends early only by the signal, with its reason. */
  async settleUntilKnown(
    key: OperationKey,
    notice: Notice,
    { signal, mode }: { readonly signal: AbortSignal; readonly mode: Mode },
  ): Promise<SettledOperation> {
    let hasFailed = false
    for (let retryMs = firstRetryMs; ; retryMs = Math.min(retryMs * 2, longestRetryMs)) {
      signal.throwIfAborted()
      try {
        const settled = await this.settle(key, notice, mode)
        if (settled.state === 'committed')
          return (await this.#isOwn(key)) ? settled : { ...settled, isAnothers: true }
        // An attempt whose reply was lost may have been the one that decided.
        if (!hasFailed) return settled
        return { state: settled.state, notice: settled.notice }
      } catch (error) {
        hasFailed = true
        if (isLockstepError(error, 'LS_OPERATION_ID_REUSED')) throw error
        this.#options.logger.warn(
          { operationId: key.id, error: messageOf(error), retryMs },
          'an outcome is not known yet; asking again',
        )
        await pause(this.#options.clock, retryMs, signal)
      }
    }
  }

  /**
   * Settles what dead nodes left open, then removes their intents, as far as every operation they name has its outcome.
   * @returns how many operations were settled, and slots without any found
   */
  async settleOrphans({
    noticeFor,
    limit,
    except = [],
    isStopping = () => false,
  }: OrphanRound): Promise<number> {
    const { own, schema } = this.#options
    const { rows } = await own.query<OrphanRow>(readOrphans(schema, limit, except))
    let done = 0
    for (const row of rows) {
      if (isStopping()) return done
      if (!isOpen(row) || (await this.#settleOrphan(row, noticeFor(row)))) done += 1
    }
    if (rows.length > 0) {
      await faultPoint('settlement.before-forget')
      await own.query(forgetOrphans(schema))
      await faultPoint('settlement.after-forget')
    }
    return done
  }

  async #isOwn(key: OperationKey): Promise<boolean> {
    const { own, schema } = this.#options
    const { rows } = await own.query<{ node: string | null }>(readDecider(schema, key))
    return rows[0]?.node === key.node
  }

  async #settleOrphan(key: OperationKey, notice: Notice): Promise<boolean> {
    const { logger } = this.#options
    try {
      const settled = await this.settle(key, notice)
      logger.warn(
        { operationId: key.id, operation: key.name, node: key.node, state: settled.state },
        'an operation of a dead node was settled',
      )
      this.#report(key, settled)
      return true
    } catch (error) {
      // Its COMMIT may still be in flight in a backend that lives on: the next round finds it again.
      logger.warn({ operationId: key.id, error: messageOf(error) }, 'an orphan was not settled this time')
      return false
    }
  }

  /** Of one that had committed nobody knows when: it is not measured. */
  #report(key: OperationKey, settled: SettledOperation): void {
    const { probe, clock } = this.#options
    if (!probe.isOn || settled.state === 'committed' || settled.wasDecidedBefore === true) return
    const now = clock.monotonic()
    probe.ended({
      operationId: key.id,
      operation: key.name,
      userId: key.userId,
      mode: 'enforce',
      outcome: 'rolled_back',
      beganAt: now,
      endedAt: now,
      offsets: noOffsets,
      isTold: true,
    })
  }

  #announceNotice(key: OperationKey, notice: Notice, row: SettleRow): void {
    if (row.offset === null || row.at_ms === null) return
    this.#options.announce(
      [
        {
          channel: userChannel(key.userId),
          offset: row.offset,
          operationId: key.id,
          type: coordinationEvents.transactionRolledBack,
          data: JSON.stringify(notice),
          at: new Date(row.at_ms),
        },
      ],
      row.epoch,
    )
  }
}

function isOpen(row: OrphanRow): row is OrphanRow & OperationKey {
  return row.id !== null
}

/** A stored result: JSON text, or nothing for an operation that returned nothing. */
export function fromJson(text: string | null): unknown {
  return text === null ? undefined : JSON.parse(text)
}

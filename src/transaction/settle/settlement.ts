import { mutationPoint } from '../../protocol/mutation-point.ts'
import { faultPoint } from '../../core/fault-point.ts'
import { coordinationEvents, type Notice } from '../../protocol/index.ts'
import {
  messageOf,
  noOffsets,
  pause,
  userChannel,
  type Clock,
  type Logger,
  type Mode,
  type Probe,
  type Queryable,
} from '../../core/index.ts'
import type { LogAppender, Settled, StoredEvent } from '../../log/index.ts'
import {
  forgetOrphans,
  readDecider,
  readOrphans,
  type OperationKey,
  type OrphanRow,
  type SettlementRequest,
  type SettlementWaits,
} from '../../postgres/index.ts'
import { batchFailure, OutcomeSearch, settledBy, type Settlement } from './outcome-search.ts'
import { SettlementQueue, type AskOptions } from './settlement-queue.ts'
import type { RollbackEventWriter } from '../parts/rollback-event-writer.ts'
import { longestBatch } from './channel-trouble.ts'

export interface SettlerOptions {
  readonly own: Queryable
  readonly schema: string
  readonly log: Pick<LogAppender, 'settle'>
  readonly clock: Clock
  readonly logger: Logger
  readonly probe: Probe
  /** Takes the notice event to its subscribers. */
  readonly deliver: (events: readonly StoredEvent[], epoch: string) => void
  /** Longest wait for a COMMIT in flight before the question is asked again. Default 1,000. */
  readonly commitWaitMs?: number
  /** Rollback events that this process keeps, where the database has none of them. */
  readonly rollbackEvents?: Pick<RollbackEventWriter, 'keptOf'>
  /** How many statements `own` takes at once: settlements leave at least one of them to others. Default 3. */
  readonly ownConnections?: number | undefined
}

/** A round over operations that dead nodes left open. */
export interface OrphanRound {
  readonly noticeFor: (key: OperationKey) => Notice
  /** Operations at most. */
  readonly limit: number
  /** Leases whose operations are brought to their outcome by somebody else. */
  readonly except?: readonly string[]
  /**
   * Asks, before each batch and before another try, whether to stop; true leaves the rest to another node, or to the
   * next start.
   */
  readonly isStopping?: () => boolean
}

/** A settlement that holds the head of a channel holds up everybody who emits there, so it lets go and tries again. */
const waits = { first: { firstMs: 250, nextMs: 50 }, again: { firstMs: 50, nextMs: 50 } }
const mostAtOnce = 2
/** An operation of no name, input and node: a row that only keeps its id from being used. */
const unheard = { name: '', inputHash: '', node: '00000000-0000-0000-0000-000000000000' }

/**
 * Brings operations to their outcome. Writing the outcome and appending the notice is one transaction, so
 * "rolled back" and "told" cannot part; and since an operation has one outcome, any number of settlers and a late
 * COMMIT agree on it.
 */
export class Settler {
  readonly #options: SettlerOptions
  readonly #queue: SettlementQueue<SettlementRequest, Settled | undefined>

  constructor(options: SettlerOptions) {
    this.#options = options
    const { clock, commitWaitMs = 1_000, ownConnections = 3 } = options
    this.#queue = new SettlementQueue(
      {
        send: (settlements, isAgain) => this.#send(settlements, isAgain ? waits.again : waits.first),
        channelOf: ({ events }) => events[0]?.channel,
        failureOf: batchFailure,
      },
      clock,
      { patienceMs: commitWaitMs, width: Math.min(Math.max(ownConnections - 1, 1), mostAtOnce) },
    )
  }

  /**
   * Settles an operation, together with others that are asked for meanwhile. Waits for a COMMIT in flight about
   * `commitWaitMs`, and holds up
   * nobody while it does.
   * @param options known facts about the operation, and whether a caller waits for it
   * @throws LS_STATEMENT_TIMEOUT when it is still in flight, and retryable database errors
   */
  async settle(
    key: OperationKey,
    notice: Notice,
    mode: Mode = 'enforce',
    options: AskOptions = {},
  ): Promise<Settlement> {
    const row = await this.#queue.ask(toSettlement(key, notice, mode), options)
    return settledBy(row, key)
  }

  /**
   * Asks until the answer is there; ends early only by the signal, with its reason.
   * @param options.after why a try before this did not settle it, where there was one
   */
  async settleUntilKnown(
    key: OperationKey,
    notice: Notice,
    { signal, mode, after }: { readonly signal: AbortSignal; readonly mode: Mode; readonly after?: unknown },
  ): Promise<Settlement> {
    const search = new OutcomeSearch(after)
    for (;;) {
      signal.throwIfAborted()
      try {
        const settled = await this.settle(key, notice, mode, { isSuspect: search.isSuspect })
        if (settled.state === 'committed' && !(await this.#isOwn(key)))
          return { ...settled, isAnothers: true }
        return search.found(settled)
      } catch (error) {
        const retryMs = search.failed(error)
        if (retryMs === undefined) throw error
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
    for (let from = 0; from < rows.length; from += longestBatch) {
      if (isStopping()) return done
      const batch = rows.slice(from, from + longestBatch)
      const open = batch.filter(isOpen)
      const ends = await Promise.all(open.map((row) => this.#settleOrphan(row, noticeFor(row), isStopping)))
      done += batch.length - open.length + ends.filter(Boolean).length
    }
    if (rows.length > 0) {
      await faultPoint('settlement.before-forget')
      await own.query(forgetOrphans(schema))
      await faultPoint('settlement.after-forget')
    }
    return done
  }

  /**
   * Closes ids that no node works on and of which nobody has heard, so that a late copy of their call cannot commit. There
   * is no notice.
   * @returns the ids that this call has closed
   * @throws LS_STATEMENT_TIMEOUT when a transaction that decides one of them is under way, and database errors
   */
  async closeUnheard(ids: readonly string[], userId: string): Promise<ReadonlySet<string>> {
    if (ids.length === 0) return new Set()
    const settlements = ids.map((id) => ({ key: { ...unheard, id, userId }, events: [] }))
    const rows = await this.#send(settlements, waits.first)
    return new Set(ids.filter((_, index) => rows[index]?.settled === true))
  }

  #withKept(settlement: SettlementRequest): SettlementRequest {
    const kept = this.#options.rollbackEvents?.keptOf(settlement.key) ?? []
    return kept.length === 0 ? settlement : { ...settlement, events: [...settlement.events, ...kept] }
  }

  async #isOwn(key: OperationKey): Promise<boolean> {
    const { own, schema } = this.#options
    const { rows } = await own.query<{ node: string | null }>(readDecider(schema, key))
    return rows[0]?.node === key.node
  }

  async #settleOrphan(key: OperationKey, notice: Notice, isStopping: () => boolean): Promise<boolean> {
    const { logger } = this.#options
    try {
      const settled = await this.settle(key, notice, 'enforce', { isOrphan: true, isStopping })
      logger.warn(
        { operationId: key.id, operation: key.name, node: key.node, state: settled.state },
        'an operation of a dead node was settled',
      )
      this.#report(key, settled)
      return true
    } catch (error) {
      // Leave the operation for the next round: its COMMIT may still be in flight in a backend that lives on.
      logger.warn({ operationId: key.id, error: messageOf(error) }, 'an orphan was not settled this time')
      return false
    }
  }

  /** Reports a settled orphan, except a committed one: the time of its commit is not known, so it is not measured. */
  #report(key: OperationKey, settled: Settlement): void {
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
      isNotified: true,
    })
  }

  async #send(
    asked: readonly SettlementRequest[],
    patience: SettlementWaits,
  ): Promise<readonly (Settled | undefined)[]> {
    const settlements = asked.map((settlement) => this.#withKept(settlement))
    const { log, deliver } = this.#options
    await faultPoint('settlement.before-settle')
    const settled = await log.settle(settlements, patience)
    await faultPoint('settlement.after-settle')
    const events = settled.flatMap((one) => one?.events ?? [])
    const [first] = settled
    if (first !== undefined && events.length > 0) deliver(events, first.epoch)
    return settled
  }
}

/** Builds the settlement; in `observe` the notice is stored for comparison, and the user is not notified. */
function toSettlement(key: OperationKey, notice: Notice, mode: Mode): SettlementRequest {
  if (mode !== 'enforce') return { key, notice: mode === 'observe' ? notice : undefined, events: [] }
  const channel = userChannel(mutationPoint('notice sent to another user') ? 'eve' : key.userId)
  const told = { channel, type: coordinationEvents.transactionRolledBack, data: JSON.stringify(notice) }
  if (mutationPoint('notice kept in memory')) return { key, notice, events: [] }
  if (mutationPoint('notice written twice')) return { key, notice, events: [told, told] }
  return { key, notice, events: [told] }
}

function isOpen(row: OrphanRow): row is OrphanRow & OperationKey {
  return row.id !== null
}

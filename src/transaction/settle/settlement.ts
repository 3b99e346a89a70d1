import { faultPoint } from '../../core/fault-point.ts'
import type { Notice } from '../../protocol/index.ts'
import { messageOf, pause, type Clock, type Logger, type Mode, type Queryable } from '../../core/index.ts'
import type { LogAppender, Settled, StoredEvent } from '../../log/index.ts'
import {
  readDecider,
  type OperationKey,
  type SettlementRequest,
  type SettlementWaits,
} from '../../postgres/index.ts'
import { batchFailure, OutcomeSearch, settledBy, type Settlement } from './outcome-search.ts'
import { SettlementQueue, type AskOptions } from './settlement-queue.ts'
import { toSettlement } from './settlement-request.ts'
import type { RollbackEventWriter } from '../parts/rollback-event-writer.ts'

export interface SettlerOptions {
  readonly own: Queryable
  readonly schema: string
  readonly log: Pick<LogAppender, 'settle'>
  readonly clock: Clock
  readonly logger: Logger
  /** Takes the notice event to its subscribers. */
  readonly deliver: (events: readonly StoredEvent[], epoch: string) => void
  /** Longest wait for a COMMIT in flight before the question is asked again. Default 1,000. */
  readonly commitWaitMs?: number
  /** Rollback events that this process keeps, where the database has none of them. */
  readonly rollbackEvents?: Pick<RollbackEventWriter, 'keptOf'>
  /** How many statements `own` takes at once: settlements leave at least one of them to others. Default 3. */
  readonly ownConnections?: number | undefined
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
  readonly #own: Queryable
  readonly #schema: string
  readonly #log: Pick<LogAppender, 'settle'>
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #deliver: (events: readonly StoredEvent[], epoch: string) => void
  readonly #rollbackEvents: Pick<RollbackEventWriter, 'keptOf'> | undefined
  readonly #queue: SettlementQueue<SettlementRequest, Settled | undefined>

  constructor({
    own,
    schema,
    log,
    clock,
    logger,
    deliver,
    rollbackEvents,
    commitWaitMs = 1_000,
    ownConnections = 3,
  }: SettlerOptions) {
    this.#own = own
    this.#schema = schema
    this.#log = log
    this.#clock = clock
    this.#logger = logger
    this.#deliver = deliver
    this.#rollbackEvents = rollbackEvents
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
        this.#logger.warn(
          { operationId: key.id, error: messageOf(error), retryMs },
          'an outcome is not known yet; asking again',
        )
        await pause(this.#clock, retryMs, signal)
      }
    }
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
    const kept = this.#rollbackEvents?.keptOf(settlement.key) ?? []
    return kept.length === 0 ? settlement : { ...settlement, events: [...settlement.events, ...kept] }
  }

  async #isOwn(key: OperationKey): Promise<boolean> {
    const { rows } = await this.#own.query<{ node: string | null }>(readDecider(this.#schema, key))
    return rows[0]?.node === key.node
  }

  async #send(
    asked: readonly SettlementRequest[],
    patience: SettlementWaits,
  ): Promise<readonly (Settled | undefined)[]> {
    const settlements = asked.map((settlement) => this.#withKept(settlement))
    await faultPoint('settlement.before-settle')
    const settled = await this.#log.settle(settlements, patience)
    await faultPoint('settlement.after-settle')
    const events = settled.flatMap((one) => one?.events ?? [])
    const [first] = settled
    if (first !== undefined && events.length > 0) this.#deliver(events, first.epoch)
    return settled
  }
}

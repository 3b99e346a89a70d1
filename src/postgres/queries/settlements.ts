import type { Notice } from '../../protocol/index.ts'
import type { Statement } from '../../core/index.ts'
import { msOf } from './milliseconds.ts'
import type { OperationKey, OperationState, PendingEvent } from './operations.ts'
import { prepared } from './prepared.ts'

/** An operation to be rolled back, if it has no outcome. */
export interface SettlementRequest {
  readonly key: OperationKey
  /** Notice, kept with the outcome. */
  readonly notice?: Notice | undefined
  /** Appended if this settlement decides: any number, to any channels. */
  readonly events: readonly PendingEvent[]
}

/** How long a settlement waits for others, in milliseconds. */
export interface SettlementWaits {
  /** Wait for the head of its first channel, while it holds nothing that others wait for. */
  readonly firstMs: number
  /** Wait for all further heads together, and what is left of it for an id; for an id alone where there is no head. */
  readonly nextMs: number
}

export interface WithdrawnEvent {
  readonly channel: string
  readonly type: string
  /** JSON text. */
  readonly data: string
  readonly offset: number
}

/** The outcome that stands after a settlement. */
export interface SettleRow {
  /** Whether this call decided the outcome. */
  readonly settled: boolean
  /** Null where the row was removed meanwhile. */
  readonly state: OperationState | null
  readonly result: string | null
  readonly notice: Notice | null
  readonly positions: Readonly<Record<string, number>> | null
  /** Offsets of the operation's events in their order, when this call decided and there are any. */
  readonly offsets: readonly number[] | null
  /** Events that the operation had left to be appended, and that this call has appended; null: none. */
  readonly withdrawn: readonly WithdrawnEvent[] | null
  /** Time of the decision by the database's clock, in milliseconds since the epoch, when this call decided. */
  readonly at_ms: number | null
  readonly user_id: string
  readonly input_hash: string
  readonly epoch: string
}

/**
 * Settles all of them in one transaction, with their rollback events, and answers a `SettleRow` for each in their order. Of two with the same id and
 * user the first counts.
 * @throws LS_STATEMENT_TIMEOUT when one of its locks was held by others for longer than `waits`; then none is settled
 */
export function settleOperations(
  schema: string,
  settlements: readonly SettlementRequest[],
  { firstMs, nextMs }: SettlementWaits,
): Statement {
  const keys = settlements.map(({ key }) => key)
  const events = settlements.flatMap((settlement, index) =>
    settlement.events.map((event) => ({ ...event, place: index + 1 })),
  )
  return settleAll(schema, [
    keys.map(({ id }) => id),
    keys.map(({ name }) => name),
    keys.map(({ userId }) => userId),
    keys.map(({ node }) => node),
    keys.map(({ inputHash }) => inputHash),
    settlements.map(({ notice }) => (notice === undefined ? null : JSON.stringify(notice))),
    events.map(({ place }) => place),
    events.map(({ channel }) => channel),
    events.map(({ type }) => type),
    events.map(({ data }) => data),
    firstMs,
    nextMs,
  ])
}

const settleAll = prepared(
  'settle',
  (
    schema,
  ) => `select s.settled, s.state, s.result::text as result, s.notice, s.positions, s.offsets, s.withdrawn,
             ${msOf('s.at')} as at_ms, s.user_id, s.input_hash, (select epoch from ${schema}.meta) as epoch
           from ${schema}.settle_operations($1::uuid[], $2::text[], $3::text[], $4::uuid[], $5::text[],
             $6::text[]::json[], $7::int[], $8::text[], $9::text[], $10::text[]::json[], $11, $12) s
           order by s.place`,
)

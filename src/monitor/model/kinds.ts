import type { Layer } from '../../core/index.ts'

/** Names of the distances between a layer and the end of its operation; in milliseconds, negative when the layer came too early. */
export const gapKinds = [
  'websocket_db_gap',
  'node_bus_gap',
  'client_ack_gap',
  'rollback_notice_gap',
  'cache_db_sync',
  'agent_state_sync',
] as const

export type GapKind = (typeof gapKinds)[number]

export const gapKindOf: Readonly<Record<Layer, GapKind>> = {
  websocket: 'websocket_db_gap',
  bus: 'node_bus_gap',
  client: 'client_ack_gap',
  notice: 'rollback_notice_gap',
  cache: 'cache_db_sync',
  agent: 'agent_state_sync',
}

/** Milliseconds up to which a gap counts as kept. Below 0 nothing is: a layer never comes before its commit. */
export type Thresholds = Readonly<Record<GapKind, number>>

export const defaultThresholds: Thresholds = {
  websocket_db_gap: 100,
  node_bus_gap: 250,
  client_ack_gap: 1_000,
  rollback_notice_gap: 1_000,
  cache_db_sync: 50,
  agent_state_sync: 50,
}

/**
 * `websocket_before_commit`: an event left a socket before its operation had committed.
 * `missing_rollback_notification`: an operation was rolled back and its user has no notice.
 * `transaction_boundary_violation`: something was shown of an operation that the log does not hold, or holds as
 * rolled back.
 * `agent_state_desync`, `cache_stale`: an agent's state or a cached value came before its commit.
 * `isolation`: something was given to a connection that may not have it.
 */
export const violationKinds = [
  'websocket_before_commit',
  'missing_rollback_notification',
  'transaction_boundary_violation',
  'agent_state_desync',
  'cache_stale',
  'isolation',
] as const

export type ViolationKind = (typeof violationKinds)[number]

export interface Violation {
  readonly kind: ViolationKind
  readonly operationId: string
  /** User of the operation. Absent where that is not known. */
  readonly userId?: string
  /** Absent where the log does not know the operation. */
  readonly operation?: string
  readonly layers: readonly string[]
  /** Time of the violation, in milliseconds since the epoch by the database's clock. */
  readonly at: number
  readonly node: string
  /** Negative when it came too early. */
  readonly gapMs?: number
  readonly detail: string
  readonly stack?: string
}

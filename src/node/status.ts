import type { NodeBus } from '../bus/index.ts'
import type { EpochWatch, NodeLease } from '../cluster/index.ts'
import type { Database } from '../core/index.ts'
import type { EventHub } from '../feeds/index.ts'
import type { Gateway } from '../gateway/index.ts'
import type { TransactionCoordinator } from '../transaction/index.ts'
import type { NodeLife } from './life.ts'
import type { NodeHealth } from './options.ts'

/** Whether this node takes operations. Channels that it cannot read leave it that. */
export function operationStatus(
  life: NodeLife,
  lease: NodeLease,
  database: Pick<Database<never>, 'trouble'>,
): NodeHealth['status'] {
  const { state } = lease
  if (life.isClosing || state === 'released') return 'stopping'
  return state === 'held' && database.trouble?.() === undefined ? 'ok' : 'degraded'
}

export interface HealthSources {
  readonly life: NodeLife
  readonly lease: NodeLease
  readonly database: Pick<Database<never>, 'trouble' | 'kind'>
  readonly epochs: EpochWatch
  readonly hub: EventHub
  readonly coordinator: Pick<TransactionCoordinator<never>, 'openCount' | 'oldest'>
  readonly gateway: Gateway
  readonly bus: NodeBus
  /** How long events may be unreadable before the node says so, in milliseconds. */
  readonly unreadableAfterMs: number
}

/** How this node is, apart from what its monitor measures. */
export function nodeHealth({
  life,
  lease,
  database,
  epochs,
  hub,
  coordinator,
  gateway,
  bus,
  unreadableAfterMs,
}: HealthSources): NodeHealth {
  const status = operationStatus(life, lease, database)
  const { lastChange: historyChange } = epochs
  const unreadableMs = Math.round(hub.unreadableMs)
  const logUnreadableMs = unreadableMs >= unreadableAfterMs ? unreadableMs : null
  return {
    status: status === 'ok' && logUnreadableMs !== null ? 'degraded' : status,
    node: lease.node,
    lease: lease.state,
    database: database.kind,
    databaseTrouble: database.trouble?.() ?? null,
    logUnreadableMs,
    openOperations: coordinator.openCount,
    oldestOperation: coordinator.oldest ?? null,
    channels: hub.channelCount,
    connections: gateway.connections(),
    bus: bus.health,
    epoch: epochs.epoch,
    ...(historyChange === undefined ? {} : { historyChange }),
  }
}

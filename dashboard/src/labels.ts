import type { Layer, Mode } from '../../src/core/probe.ts'
import type { GapKind, ViolationKind } from '../../src/monitor/model/kinds.ts'

export const gapLabels: Readonly<Record<GapKind, string>> = {
  websocket_db_gap: 'Commit → socket',
  node_bus_gap: 'Commit → other node',
  client_ack_gap: 'Commit → client',
  rollback_notice_gap: 'Rollback → notice',
  cache_db_sync: 'Commit → cache',
  agent_state_sync: 'Commit → agent state',
}

export const gapKinds = Object.keys(gapLabels) as readonly GapKind[]

export const gapKindOf: Readonly<Record<Layer, GapKind>> = {
  websocket: 'websocket_db_gap',
  notice: 'rollback_notice_gap',
  bus: 'node_bus_gap',
  client: 'client_ack_gap',
  cache: 'cache_db_sync',
  agent: 'agent_state_sync',
}

export const layerLabels: Readonly<Record<Layer, string>> = {
  websocket: 'Socket',
  bus: 'Other node',
  client: 'Client',
  notice: 'Notice',
  cache: 'Cache',
  agent: 'Agent state',
}

export const violationLabels: Readonly<Record<ViolationKind, string>> = {
  websocket_before_commit: 'Shown before its commit',
  missing_rollback_notification: 'Rollback without notice',
  transaction_boundary_violation: 'Shown but not in the log',
  agent_state_desync: 'Agent ahead of its commit',
  cache_stale: 'Cache ahead of its commit',
  isolation: 'Given to the wrong user',
}

export const violationKinds = Object.keys(violationLabels) as readonly ViolationKind[]

export const modeHints: Readonly<Record<Mode, string>> = {
  enforce: 'Events leave after the commit; the user of a rollback is notified.',
  observe: 'Events leave at once; what goes wrong is measured.',
  off: 'Events leave at once; nothing is measured.',
}

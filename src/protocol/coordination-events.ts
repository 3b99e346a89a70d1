import { rolledBackEvent } from './outcome.ts'

/** Event types that Lockstep itself puts on a user's channel. The words are those of the coordination events. */
export const coordinationEvents = {
  transactionStarted: 'transaction_started',
  transactionCommitted: 'transaction_committed',
  transactionRolledBack: rolledBackEvent,
  coordinationFailed: 'coordination_failed',
  layerSyncError: 'layer_sync_error',
} as const

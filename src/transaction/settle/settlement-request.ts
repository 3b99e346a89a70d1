import { userChannel, type Mode } from '../../core/index.ts'
import type { OperationKey, SettlementRequest } from '../../postgres/index.ts'
import { coordinationEvents, type Notice } from '../../protocol/index.ts'
import { mutationPoint } from '../../protocol/mutation-point.ts'

/** Builds the settlement; in `observe` the notice is stored for comparison, and the user is not notified. */
export function toSettlement(key: OperationKey, notice: Notice, mode: Mode): SettlementRequest {
  if (mode !== 'enforce') return { key, notice: mode === 'observe' ? notice : undefined, events: [] }
  const channel = userChannel(mutationPoint('notice sent to another user') ? 'eve' : key.userId)
  const told = { channel, type: coordinationEvents.transactionRolledBack, data: JSON.stringify(notice) }
  if (mutationPoint('notice kept in memory')) return { key, notice, events: [] }
  if (mutationPoint('notice written twice')) return { key, notice, events: [told, told] }
  return { key, notice, events: [told] }
}

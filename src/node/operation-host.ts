import type { OperationHost } from '../operations/index.ts'
import type { TransactionCoordinator, UserScope } from '../transaction/index.ts'

interface OperationRooms<Db> {
  readonly scope: UserScope<Db>
  readonly coordinator: TransactionCoordinator<Db>
}

/** Runs declared operations on a node, which each call starts where it has not started yet. */
export function operationHostOf<Db>(
  { scope, coordinator }: OperationRooms<Db>,
  start: () => Promise<void>,
): OperationHost<Db> {
  return {
    scope,
    run: async (request) => {
      await start()
      return coordinator.run(request)
    },
    earliestArrival: () => coordinator.earliestArrival,
    recall: async (id, claim) => {
      await start()
      return coordinator.recall(id, claim)
    },
  }
}

import type { EpochWatch, NodeLease } from '../cluster/index.ts'
import { assertWholeNumbers, type UserContext } from '../core/index.ts'
import type { Deliveries } from '../feeds/index.ts'
import { Runs, type RunsPart, type StepDraftPorts } from '../runs/index.ts'
import type { TransactionCoordinator, UserScope } from '../transaction/index.ts'
import type { Base } from './durations.ts'
import type { LockstepOptions } from './options.ts'

interface RunRooms<Db> extends Base {
  readonly epochs: EpochWatch
  readonly lease: NodeLease
  readonly scope: UserScope<Db>
  readonly part: RunsPart
  readonly drafts: StepDraftPorts
  readonly deliveries: Deliveries
  readonly coordinator: TransactionCoordinator<Db>
  readonly authorizeSubscription: (user: UserContext, channel: string) => Promise<void>
}

const defaultConcurrency = 100

/** Makes the room of the runs. @throws LS_CONFIG_INVALID */
export function createRuns<Db>(
  { epochs, scope, deliveries, coordinator, ...rooms }: RunRooms<Db>,
  { runs = {} }: LockstepOptions<Db>,
): Runs<Db> {
  const { concurrency = defaultConcurrency } = runs
  assertWholeNumbers({ 'runs.concurrency': concurrency }, { least: 0 })
  const room = new Runs<Db>({
    ...rooms,
    concurrency,
    epoch: () => epochs.epoch,
    deliver: deliveries.deliver,
    push: deliveries.deliverTransient,
    run: (request) => coordinator.run({ ...request, work: scope.begin(request.work) }),
    recall: (id, claim) => coordinator.recall(id, claim),
    earliestArrival: () => coordinator.earliestArrival,
  })
  epochs.onChange(() => room.historyChanged())
  return room
}

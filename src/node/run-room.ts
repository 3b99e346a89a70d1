import type { EpochWatch, NodeLease } from '../cluster/index.ts'
import { assertWholeNumbers } from '../core/index.ts'
import type { Deliveries } from '../feeds/index.ts'
import { Runs, type RunsPart } from '../runs/index.ts'
import type { TransactionCoordinator, UserScope } from '../transaction/index.ts'
import type { Base } from './durations.ts'
import type { LockstepOptions } from './options.ts'

interface RunRooms<Db> extends Base {
  readonly epochs: EpochWatch
  readonly lease: NodeLease
  readonly scope: UserScope<Db>
  readonly part: RunsPart
  readonly deliveries: Deliveries
  readonly coordinator: TransactionCoordinator<Db>
}

const defaultConcurrency = 100

/** Makes the room of the runs. @throws LS_CONFIG_INVALID */
export function createRuns<Db>(
  { epochs, lease, scope, part, deliveries, coordinator, ...base }: RunRooms<Db>,
  { runs = {} }: LockstepOptions<Db>,
): Runs<Db> {
  const { concurrency = defaultConcurrency } = runs
  assertWholeNumbers({ 'runs.concurrency': concurrency }, { least: 0 })
  const room = new Runs<Db>({
    ...base,
    lease,
    part,
    concurrency,
    epoch: () => epochs.epoch,
    deliver: deliveries.deliver,
    push: deliveries.deliverTransient,
    run: (request) => coordinator.run({ ...request, work: scope.begin(request.work) }),
    earliestArrival: () => coordinator.earliestArrival,
  })
  epochs.onChange(() => room.historyChanged())
  return room
}

import { noOffsets, type Clock, type Offsets, type Probe } from '../../core/index.ts'
import type { Settlement } from '../settle/outcome-search.ts'
import type { OpenOperation } from './open-operation.ts'

type Reported = Pick<OpenOperation<unknown>, 'key' | 'mode' | 'beganAt' | 'reportedMode'>

/** Reports to the health monitor how operations of this node have ended. */
export class OperationReports {
  readonly #probe: Probe
  readonly #clock: Clock

  constructor(probe: Probe, clock: Clock) {
    this.#probe = probe
    this.#clock = clock
  }

  /** Reports a commit whose reply has just come. */
  committed(operation: Reported, offsets: Offsets): void {
    if (!this.#probe.isOn) return
    this.#ended(operation, 'committed', offsets, this.#clock.monotonic(), false)
  }

  /** Reports an outcome that a settlement has written or found. `failedAt`: monotonic milliseconds. */
  settled(operation: Reported, settled: Settlement, failedAt: number): void {
    if (!this.#probe.isOn) return
    // Skip the count: the node that took this one for dead has settled and counted the operation.
    if (settled.state === 'rolled_back' && settled.wasDecidedBefore === true) return
    const isCommitted = settled.state === 'committed'
    const offsets = isCommitted ? settled.offsets : noOffsets
    // The reply to COMMIT was lost: it came some time after the beginning, and others may have shown it since.
    const endedAt = isCommitted ? operation.beganAt : failedAt
    this.#ended(operation, settled.state, offsets, endedAt, operation.reportedMode === 'enforce')
  }

  #ended(
    { key, mode, beganAt }: Reported,
    outcome: Settlement['state'],
    offsets: Offsets,
    endedAt: number,
    isNotified: boolean,
  ): void {
    this.#probe.ended({
      operationId: key.id,
      operation: key.name,
      userId: key.userId,
      mode,
      outcome,
      beganAt,
      endedAt,
      offsets,
      isNotified,
    })
  }
}

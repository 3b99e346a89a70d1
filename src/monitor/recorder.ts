import type { DatabaseClock, OperationReport, IsolationReport, LayerReport } from '../core/index.ts'
import { sanitized, cut } from './store/violation-row.ts'
import type { Fault } from './measure/fault-rules.ts'
import { gapKindOf, type Thresholds, type Violation } from './model/kinds.ts'
import { DedupWindow } from './model/dedup-window.ts'
import { RecentOperations } from './measure/recent-operations.ts'
import type { HealthSink } from './measure/sink.ts'
import { OpenRollUp } from './measure/open-roll-up.ts'
import { keyOf, type ViolationQueue } from './store/violation-queue.ts'
import type { FaultFacts, WatcherPort } from './measure/watcher.ts'

export interface RecorderOptions {
  readonly thresholds: Thresholds
  readonly sinks: readonly HealthSink[]
  readonly violations: ViolationQueue
  readonly node: () => string
  readonly databaseClock: DatabaseClock
  /** Database's clock, for reports that have no time of their own. */
  readonly nowMs: () => number
  /** Whether an operation counts in the score. */
  readonly isSampled: (operationId: string) => boolean
}

const idsOfOneGeneration = 16_384

/** Counts what was found, once for each operation and violation, and passes it on. */
export class Recorder implements WatcherPort {
  readonly #thresholds: Thresholds
  readonly #sinks: readonly HealthSink[]
  readonly #violations: ViolationQueue
  readonly #node: () => string
  readonly #databaseClock: DatabaseClock
  readonly #nowMs: () => number
  readonly #isSampled: (operationId: string) => boolean
  readonly recent = new RecentOperations()
  readonly #unhealthy = new DedupWindow(idsOfOneGeneration)
  readonly #found = new DedupWindow(idsOfOneGeneration)
  #openRollUp = new OpenRollUp()

  constructor(options: RecorderOptions) {
    this.#thresholds = options.thresholds
    this.#sinks = options.sinks
    this.#violations = options.violations
    this.#node = options.node
    this.#databaseClock = options.databaseClock
    this.#nowMs = options.nowMs
    this.#isSampled = options.isSampled
  }

  get openRollUp(): OpenRollUp {
    return this.#openRollUp
  }

  /** Takes the roll-up of everything counted since the last call. */
  takeRollUp(): OpenRollUp {
    const taken = this.#openRollUp
    this.#openRollUp = new OpenRollUp()
    return taken
  }

  operation(report: OperationReport): void {
    for (const sink of this.#sinks) sink.operation(report)
    if (report.mode === 'off' || !this.#isSampled(report.operationId)) return
    this.#openRollUp.operations += 1
    this.recent.add(report)
  }

  gap(report: LayerReport, gapMs: number, ended: OperationReport | undefined): void {
    const kind = gapKindOf[report.layer]
    const thresholdMs = this.#thresholds[kind]
    // A gap that may be off by more than its threshold says nothing; and a client that answers late on purpose would
    // have a say in the figures.
    const { errorMs = 0 } = report
    if (errorMs > thresholdMs) return this.unwatched(1)
    if (!this.#openRollUp.gap(kind).record(gapMs, thresholdMs)) {
      this.unwatched(1)
      return
    }
    for (const sink of this.#sinks) sink.gap(kind, gapMs)
    if (ended !== undefined) this.recent.addLayer(ended, report, gapMs)
    // Count only a gap that is surely late against the operation.
    if (gapMs < 0 || gapMs - errorMs > thresholdMs) this.#breach(report.operationId, ended?.userId)
  }

  fault(report: LayerReport, fault: Fault, facts: FaultFacts): void {
    this.violation({
      kind: fault.kind,
      operationId: report.operationId,
      ...(facts.userId === undefined ? {} : { userId: facts.userId }),
      ...(facts.operation === undefined ? {} : { operation: facts.operation }),
      layers: ['database', report.layer],
      at: this.#databaseClock.toDatabaseMs(report.at),
      ...(facts.gapMs === undefined ? {} : { gapMs: facts.gapMs }),
      detail: report.channel === undefined ? fault.detail : `${fault.detail}: ${placeOf(report)}`,
      ...(report.stack === undefined ? {} : { stack: report.stack }),
    })
  }

  exposed(report: IsolationReport): void {
    this.violation({
      kind: 'isolation',
      operationId: report.operationId,
      layers: ['websocket'],
      at: this.#databaseClock.toDatabaseMs(report.at),
      detail: `${report.channel.slice(0, 255)} was given to a connection of ${report.userId.slice(0, 200)}`,
    })
  }

  violation(found: Omit<Violation, 'node'>): void {
    this.#breach(found.operationId, found.userId)
    if (!this.#found.add(keyOf(found.kind, found.operationId.slice(0, 100), found.userId))) return
    // Look for room before cleaning the texts: a flood must not cost that work.
    if (
      !this.#violations.isFull &&
      this.#violations.offer(sanitized({ ...found, node: this.#node() }, this.#nowMs()))
    )
      return
    this.#openRollUp.notStored += 1
    this.#openRollUp.violation(found.kind)
  }

  /** Counts a violation that is in the table and was not before: all nodes together count it once. */
  stored(violation: Violation): void {
    this.#openRollUp.violation(violation.kind)
    for (const sink of this.#sinks) sink.violation(violation)
  }

  unwatched(count: number): void {
    this.#openRollUp.unwatched += count
  }

  #breach(operationId: string, userId: string | undefined): void {
    if (!this.#isSampled(operationId)) return
    if (userId !== undefined) this.recent.breach({ operationId, userId })
    const id = cut(operationId, 100)
    if (this.#unhealthy.add(id)) this.#openRollUp.breach(id)
  }
}

function placeOf({ channel = '', offset }: LayerReport): string {
  return offset === undefined ? channel.slice(0, 255) : `${channel.slice(0, 255)} at ${offset}`
}

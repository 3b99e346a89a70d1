import type { DatabaseClock, EndReport, IsolationReport, LayerReport } from '../core/index.ts'
import { cleaned, cut } from './clean.ts'
import type { Fault } from './judge.ts'
import { gapKindOf, type Thresholds, type Violation } from './kinds.ts'
import { RecentIds } from './recent-ids.ts'
import { RecentOperations } from './recent-operations.ts'
import type { HealthSink } from './sink.ts'
import { Tally } from './tally.ts'
import { keyOf, type ViolationQueue } from './violation-queue.ts'
import type { FaultFacts, WatcherPort } from './watcher.ts'

export interface RecorderOptions {
  readonly thresholds: Thresholds
  readonly sinks: readonly HealthSink[]
  readonly violations: ViolationQueue
  readonly node: () => string
  readonly databaseClock: DatabaseClock
  /** By the database's clock, for what has no time of its own. */
  readonly nowMs: () => number
  /** Whether an operation counts in the score. */
  readonly isSampled: (operationId: string) => boolean
}

const idsOfOneGeneration = 16_384

/** Counts what was judged, once for each operation and violation, and passes it on. */
export class Recorder implements WatcherPort {
  readonly #options: RecorderOptions
  readonly recent = new RecentOperations()
  readonly #unhealthy = new RecentIds(idsOfOneGeneration)
  readonly #found = new RecentIds(idsOfOneGeneration)
  #tally = new Tally()

  constructor(options: RecorderOptions) {
    this.#options = options
  }

  get tally(): Tally {
    return this.#tally
  }

  /** What was counted since the last call. */
  takeTally(): Tally {
    const taken = this.#tally
    this.#tally = new Tally()
    return taken
  }

  operation(report: EndReport): void {
    for (const sink of this.#options.sinks) sink.operation(report)
    if (report.mode === 'off' || !this.#options.isSampled(report.operationId)) return
    this.#tally.operations += 1
    this.recent.add(report)
  }

  gap(report: LayerReport, gapMs: number, ended: EndReport | undefined): void {
    const kind = gapKindOf[report.layer]
    const thresholdMs = this.#options.thresholds[kind]
    // One that may be off by more than its threshold says nothing; and a client that answers late on purpose would
    // have a say in the figures.
    const { errorMs = 0 } = report
    if (errorMs > thresholdMs) return this.unwatched(1)
    if (!this.#tally.gap(kind).record(gapMs, thresholdMs)) {
      this.unwatched(1)
      return
    }
    for (const sink of this.#options.sinks) sink.gap(kind, gapMs)
    if (ended !== undefined) this.recent.addLayer(ended, report, gapMs)
    // Only what is surely late counts against the operation.
    if (gapMs < 0 || gapMs - errorMs > thresholdMs) this.#breach(report.operationId, ended?.userId)
  }

  fault(report: LayerReport, fault: Fault, facts: FaultFacts): void {
    this.violation({
      kind: fault.kind,
      operationId: report.operationId,
      ...(facts.userId === undefined ? {} : { userId: facts.userId }),
      ...(facts.operation === undefined ? {} : { operation: facts.operation }),
      layers: ['database', report.layer],
      at: this.#options.databaseClock.toDatabaseMs(report.at),
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
      at: this.#options.databaseClock.toDatabaseMs(report.at),
      detail: `${report.channel.slice(0, 255)} was given to a connection of ${report.userId.slice(0, 200)}`,
    })
  }

  violation(found: Omit<Violation, 'node'>): void {
    const { violations, node, nowMs } = this.#options
    this.#breach(found.operationId, found.userId)
    if (!this.#found.add(keyOf(found.kind, found.operationId.slice(0, 100), found.userId))) return
    // Asked first: a flood must not cost what it takes to clean its texts.
    if (!violations.isFull && violations.offer(cleaned({ ...found, node: node() }, nowMs()))) return
    this.#tally.notStored += 1
    this.#tally.violation(found.kind)
  }

  /** It is in the table, and was not before: every node together counts it once. */
  stored(violation: Violation): void {
    this.#tally.violation(violation.kind)
    for (const sink of this.#options.sinks) sink.violation(violation)
  }

  unwatched(count: number): void {
    this.#tally.unwatched += count
  }

  #breach(operationId: string, userId: string | undefined): void {
    if (!this.#options.isSampled(operationId)) return
    if (userId !== undefined) this.recent.breach({ operationId, userId })
    const id = cut(operationId, 100)
    if (this.#unhealthy.add(id)) this.#tally.breach(id)
  }
}

function placeOf({ channel = '', offset }: LayerReport): string {
  return offset === undefined ? channel.slice(0, 255) : `${channel.slice(0, 255)} at ${offset}`
}

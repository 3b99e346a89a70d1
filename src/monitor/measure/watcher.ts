import {
  isOperationId,
  type DatabaseClock,
  type OperationReport,
  type LayerReport,
  type Mode,
} from '../../core/index.ts'
import type { LogQuestion } from '../../postgres/index.ts'
import { EndedOperations, isOf } from './ended-operations.ts'
import { localFault, localGap, loggedFault, remoteGap, type Fault, type LogAnswer } from './fault-rules.ts'

/** Facts known of the operation that has a fault. */
export interface FaultFacts {
  /** Absent where it cannot be known. */
  readonly gapMs?: number | undefined
  readonly operation?: string | undefined
  readonly userId?: string | undefined
}

/** Receives what the watcher has found. */
export interface WatcherPort {
  /** `ended` is there for operations of this node. */
  gap(report: LayerReport, gapMs: number, ended: OperationReport | undefined): void
  fault(report: LayerReport, fault: Fault, facts: FaultFacts): void
  /** Reports were let go of without a verdict. */
  unwatched(count: number): void
}

export interface WatcherOptions {
  readonly port: WatcherPort
  readonly databaseClock: DatabaseClock
  /** How an operation of another node is carried out, as far as that is known here. */
  readonly modeOf?: ((operation: string, userId: string) => Mode | undefined) | undefined
  /** Ticks of the monitor until the log is asked. Default 4. */
  readonly ticksToAsk?: number
  /** Ended operations of one generation; two are remembered. Default 16,384. */
  readonly endedGeneration?: number
  /** Reports that wait for the end of their operation, or for the log. Default 20,000. */
  readonly mostWaiting?: number
}

/** Reports of one operation whose end is not known here. */
interface Waiting {
  readonly operationId: string
  readonly sinceTick: number
  reports: LayerReport[]
  /** Infinite while the log is being asked. */
  dueTick: number
  asks: number
}

/** A question of the watcher to the log, with the report that it is for. */
export interface Inquiry {
  readonly waiting: Waiting
  readonly report: LayerReport
  /** Undefined: the log cannot know such an id. */
  readonly question: LogQuestion | undefined
}

const mostReportsOfOne = 64
const asksUntilUnknown = 2
const ticksUntilGivenUp = 240

/**
 * Puts what left the sockets beside how its operation ended: from the report of its end on this node, else from the
 * log. It believes no code path that promises order; it is given times and outcomes. Its memory is bounded by
 * counts; what it lets go of is counted.
 */
export class Watcher {
  readonly #port: WatcherPort
  readonly #databaseClock: DatabaseClock
  readonly #modeOf: ((operation: string, userId: string) => Mode | undefined) | undefined
  readonly #ticksToAsk: number
  readonly #mostWaiting: number
  readonly #ended: EndedOperations
  /** Reports not asked for yet, oldest first. */
  #fresh = new Map<string, Waiting>()
  /** Reports asked for at least once. */
  #asked = new Map<string, Waiting>()
  #waitingReports = 0
  #tick = 0

  constructor(options: WatcherOptions) {
    this.#port = options.port
    this.#databaseClock = options.databaseClock
    this.#modeOf = options.modeOf
    this.#ended = new EndedOperations(options.endedGeneration ?? 16_384)
    this.#ticksToAsk = options.ticksToAsk ?? 4
    this.#mostWaiting = options.mostWaiting ?? 20_000
  }

  /** Reports that wait now. */
  get waiting(): number {
    return this.#waitingReports
  }

  /** False when this end has been reported before. */
  ended(report: OperationReport): boolean {
    return this.#ended.add(report)
  }

  /** Checks what came before the end; call it after `ended`, so that whoever counts has counted the operation first. */
  settle(report: OperationReport): void {
    if (this.#waitingReports === 0) return
    const waiting = this.#fresh.get(report.operationId) ?? this.#asked.get(report.operationId)
    if (waiting === undefined) return
    this.#forget(waiting)
    for (const early of waiting.reports) {
      if (isOf(early, report)) this.#check(report, early)
      else this.#wait(early)
    }
  }

  reached(report: LayerReport): void {
    const ended = this.#ended.of(report)
    if (ended === undefined) this.#wait(report)
    else this.#check(ended, report)
  }

  /** Called once for each tick of the monitor. */
  tick(): void {
    this.#tick += 1
  }

  /** Questions that are due, at most `limit`. The caller answers each by `answer` or `postpone`. */
  inquiries(limit: number): Inquiry[] {
    const inquiries: Inquiry[] = []
    for (const waiting of this.#fresh.values()) {
      if (waiting.dueTick > this.#tick || inquiries.length >= limit) break
      this.#fresh.delete(waiting.operationId)
      this.#asked.set(waiting.operationId, waiting)
      waiting.dueTick = Number.POSITIVE_INFINITY
      for (const report of waiting.reports) inquiries.push(toInquiry(waiting, report))
    }
    for (const waiting of this.#asked.values()) {
      if (inquiries.length >= limit) break
      if (waiting.dueTick > this.#tick) continue
      waiting.dueTick = Number.POSITIVE_INFINITY
      for (const report of waiting.reports) inquiries.push(toInquiry(waiting, report))
    }
    return inquiries
  }

  /** The log could not be asked: all of it again, a tick later. */
  postpone(inquiries: readonly Inquiry[]): void {
    for (const { waiting } of inquiries) waiting.dueTick = this.#tick + 1
  }

  answer(inquiries: readonly Inquiry[], answers: readonly LogAnswer[]): void {
    const checked = new Set<LayerReport>()
    for (const [place, { waiting, report }] of inquiries.entries()) {
      // The end of the operation may have been reported while the log was asked.
      if (this.#asked.get(waiting.operationId) !== waiting) continue
      const answer = answers[place] ?? { state: 'unknown', hasEvent: false }
      if (this.#mustWait(waiting, report, answer)) continue
      checked.add(report)
      // The outcome may be on its way for as long as the database takes no changes, so this notice proves no fault.
      if (answer.state === 'unknown' && isTransientNotice(report)) this.#port.unwatched(1)
      else this.#checkByLog(report, answer)
    }
    for (const waiting of new Set(inquiries.map((inquiry) => inquiry.waiting))) this.#letGo(waiting, checked)
  }

  // An open operation may still end either way. One that is not known may be one whose first trace is its flush,
  // unless the report names an event, which exists only from the commit on.
  #mustWait(waiting: Waiting, report: LayerReport, { state }: LogAnswer): boolean {
    if (state === 'started' || (state === 'unknown' && isTransientNotice(report)))
      return this.#tick - waiting.sinceTick < ticksUntilGivenUp
    return state === 'unknown' && report.offset === undefined && waiting.asks < asksUntilUnknown
  }

  #letGo(waiting: Waiting, checked: ReadonlySet<LayerReport>): void {
    if (this.#asked.get(waiting.operationId) !== waiting) return
    const left = waiting.reports.filter((report) => !checked.has(report))
    this.#waitingReports -= waiting.reports.length - left.length
    waiting.reports = left
    waiting.asks += 1
    waiting.dueTick = this.#tick + Math.min(40, this.#ticksToAsk * 2 ** waiting.asks)
    if (left.length === 0) this.#asked.delete(waiting.operationId)
  }

  #wait(report: LayerReport): void {
    const id = report.operationId
    const known = this.#fresh.get(id) ?? this.#asked.get(id)
    if (known !== undefined && known.reports.length >= mostReportsOfOne) {
      this.#port.unwatched(1)
      return
    }
    this.#waitingReports += 1
    if (known !== undefined) known.reports.push(report)
    else {
      const dueTick = this.#tick + this.#ticksToAsk
      this.#fresh.set(id, { operationId: id, sinceTick: this.#tick, reports: [report], dueTick, asks: 0 })
    }
    while (this.#waitingReports > this.#mostWaiting) this.#dropOldest()
  }

  #dropOldest(): void {
    const oldest = first(this.#asked) ?? first(this.#fresh)
    if (oldest === undefined) return
    this.#forget(oldest)
    this.#port.unwatched(oldest.reports.length)
  }

  #forget(waiting: Waiting): void {
    this.#fresh.delete(waiting.operationId)
    this.#asked.delete(waiting.operationId)
    this.#waitingReports -= waiting.reports.length
  }

  #check(ended: OperationReport, report: LayerReport): void {
    if (ended.mode === 'off') return
    const gapMs = localGap(ended, report)
    this.#port.gap(report, gapMs, ended)
    const fault = localFault(ended, report, gapMs)
    const { operation, userId } = ended
    if (fault !== undefined) this.#port.fault(report, fault, { gapMs, operation, userId })
  }

  #checkByLog(report: LayerReport, answer: LogAnswer): void {
    const { operation, userId, settledMs } = answer
    const mode =
      operation === undefined || userId === undefined ? undefined : this.#modeOf?.(operation, userId)
    if (mode === 'off') return
    const atMs = this.#databaseClock.toDatabaseMs(report.at)
    const gapMs =
      settledMs === undefined ? undefined : remoteGap(atMs, settledMs, report, this.#databaseClock.errorMs)
    if (gapMs !== undefined) this.#port.gap(report, gapMs, undefined)
    const fault = loggedFault(answer, report, gapMs ?? 0, mode)
    if (fault !== undefined) this.#port.fault(report, fault, { gapMs, operation, userId })
  }
}

/** Tells whether a report is of a notice that was sent from memory, before it could be stored. */
function isTransientNotice(report: LayerReport): boolean {
  return report.layer === 'notice' && report.offset === undefined
}

function toInquiry(waiting: Waiting, report: LayerReport): Inquiry {
  const { operationId, userId = null, channel = null, offset = null } = report
  if (!isOperationId(operationId)) return { waiting, report, question: undefined }
  const isEvent = channel !== null && offset !== null
  // An offset or a name that Postgres could not even be asked for names no event.
  const isAskable = isEvent && Number.isSafeInteger(offset) && offset > 0 && !channel.includes('\0')
  const named = isAskable ? { channel, offset } : { channel: isEvent ? '' : null, offset: isEvent ? 0 : null }
  return { waiting, report, question: { operationId, userId, ...named } }
}

function first<Value>(map: ReadonlyMap<string, Value>): Value | undefined {
  for (const value of map.values()) return value
  return undefined
}

import type { OperationReport, LayerReport, Mode } from '../../core/index.ts'
import type { ViolationKind } from '../model/kinds.ts'

/** A fault of a report, besides coming too late. */
export interface Fault {
  readonly kind: ViolationKind
  readonly detail: string
}

/** The log's answer about an operation, and about the event that a report names. */
export interface LogAnswer {
  readonly state: 'started' | 'committed' | 'rolled_back' | 'unknown'
  readonly operation?: string | undefined
  readonly userId?: string | undefined
  /** Time of the settlement, by the database's clock. */
  readonly settledMs?: number | undefined
  /** True too where the report names no event. */
  readonly hasEvent: boolean
}

/** Widest error that counts: a wider one must not hide an early report. */
const widestErrorMs = 5_000

/** The error of a report, within what is believed. */
export function errorMsOf(report: LayerReport): number {
  const { errorMs = 0 } = report
  return errorMs > 0 ? Math.min(errorMs, widestErrorMs) : 0
}

/**
 * The signed gap of a report on the node that ran the operation. What may as well have come in time counts as 0:
 * because of the report's error, or because it was read from the log, where it stands from the commit on, which is
 * some time before this node hears of it.
 */
export function localGap(ended: OperationReport, report: LayerReport): number {
  const gapMs = report.at - ended.endedAt
  return gapMs < 0 && (report.wasRead === true || gapMs >= -errorMsOf(report)) ? 0 : gapMs
}

/**
 * The gap of a report on another node: from the flush by the database's clock, which precedes the commit by
 * milliseconds, so it is an upper bound. `clockErrorMs` is how wrong this node's idea of that clock may be.
 */
export function remoteGap(
  atMs: number,
  settledMs: number,
  report: LayerReport,
  clockErrorMs: number,
): number {
  const gapMs = atMs - settledMs
  if (gapMs < 0 && report.wasRead === true) return 0
  return gapMs < 0 && gapMs >= -(clockErrorMs + errorMsOf(report) + 1) ? 0 : gapMs
}

export function localFault(ended: OperationReport, report: LayerReport, gapMs: number): Fault | undefined {
  if (ended.outcome === 'rolled_back') {
    return rolledBackFault(report.layer, ended.mode === 'observe' && gapMs < 0)
  }
  if (report.layer === 'notice') return noticeOfCommitted
  if (report.layer === 'websocket' && report.offset !== undefined && report.channel !== undefined) {
    const last = ended.offsets.get(report.channel)
    // The negated comparison makes NaN count as beyond.
    if (last === undefined || !(report.offset <= last)) return notInLog
  }
  return gapMs < 0 ? earlyFault(report.layer) : undefined
}

export function loggedFault(
  answer: LogAnswer,
  report: LayerReport,
  gapMs: number,
  mode: Mode | undefined,
): Fault | undefined {
  if (answer.state === 'unknown') return unknownOperation
  if (answer.state === 'started') return earlyFault(report.layer)
  if (answer.state === 'rolled_back') return rolledBackFault(report.layer, mode === 'observe' && gapMs < 0)
  if (report.layer === 'notice') return noticeOfCommitted
  if (report.layer === 'websocket' && !answer.hasEvent) return notInLog
  return gapMs < 0 ? earlyFault(report.layer) : undefined
}

const notInLog: Fault = {
  kind: 'transaction_boundary_violation',
  detail: 'an event was shown that the log does not hold for this operation',
}
const unknownOperation: Fault = {
  kind: 'transaction_boundary_violation',
  detail: 'something was shown of an operation that the log does not know',
}
const noticeOfCommitted: Fault = {
  kind: 'transaction_boundary_violation',
  detail: 'the notice of a rollback was shown, but the operation committed',
}
const shownThenRolledBack: Fault = {
  kind: 'transaction_boundary_violation',
  detail: 'something was shown of an operation that was rolled back',
}
const early: Readonly<Record<LayerReport['layer'], Fault>> = {
  websocket: { kind: 'websocket_before_commit', detail: 'an event left a socket before the commit' },
  client: { kind: 'websocket_before_commit', detail: 'a client had an event before the commit' },
  bus: { kind: 'transaction_boundary_violation', detail: 'an event was on the bus before the commit' },
  notice: { kind: 'transaction_boundary_violation', detail: 'a notice was shown before the rollback' },
  cache: { kind: 'cache_stale', detail: 'a cached value came before the commit' },
  agent: { kind: 'agent_state_desync', detail: 'the state of an agent came before the commit' },
}

function earlyFault(layer: LayerReport['layer']): Fault {
  return early[layer]
}

// Notices, and what carries them, belong to a rollback.
function rolledBackFault(layer: LayerReport['layer'], wasShownEarlyOnPurpose: boolean): Fault | undefined {
  if (layer === 'websocket' || layer === 'client') {
    if (wasShownEarlyOnPurpose) return early[layer]
    return layer === 'websocket' ? shownThenRolledBack : undefined
  }
  if (layer === 'cache') return { ...early.cache, detail: 'a cached value is of a rolled back operation' }
  if (layer === 'agent')
    return { ...early.agent, detail: 'the state of an agent is of a rolled back operation' }
  return undefined
}

import { operationKey, type OperationReport, type LayerReport } from '../../core/index.ts'
import type { DashboardOperation } from '../model/dashboard-data.ts'
import { errorMsOf } from './fault-rules.ts'

const mostKept = 50
const mostPerTick = 10
const mostLayers = 16

interface Kept {
  readonly report: OperationReport
  readonly layers: DashboardOperation['layers'][number][]
  kept: boolean
}

/** The last operations of this node, for the dashboard's feed: some of each tick when there are many. */
export class RecentOperations {
  readonly #kept = new Map<string, Kept>()
  #thisTick = 0

  tick(): void {
    this.#thisTick = 0
  }

  add(report: OperationReport): void {
    if (this.#thisTick >= mostPerTick) return
    this.#thisTick += 1
    this.#kept.set(keyOf(report), { report, layers: [], kept: true })
    if (this.#kept.size <= mostKept) return
    for (const oldest of this.#kept.keys()) {
      this.#kept.delete(oldest)
      return
    }
  }

  addLayer(ended: OperationReport, report: LayerReport, gapMs: number): void {
    const found = this.#kept.get(keyOf(ended))
    if (found === undefined || found.layers.length >= mostLayers) return
    const errorMs = errorMsOf(report)
    found.layers.push({
      layer: report.layer,
      ...(report.channel === undefined ? {} : { channel: report.channel }),
      gapMs: Math.round(gapMs * 1000) / 1000,
      ...(errorMs === 0 ? {} : { errorMs }),
    })
  }

  breach(operation: Pick<OperationReport, 'operationId' | 'userId'>): void {
    const found = this.#kept.get(keyOf(operation))
    if (found !== undefined) found.kept = false
  }

  list(node: string, toDatabaseMs: (monotonicMs: number) => number): DashboardOperation[] {
    return [...this.#kept.values()].toReversed().map(({ report, layers, kept }) => ({
      id: report.operationId,
      name: report.operation,
      user: report.userId,
      node,
      mode: report.mode,
      outcome: report.outcome,
      endedAt: isoOf(toDatabaseMs(report.endedAt)),
      durationMs: Math.round((report.endedAt - report.beganAt) * 1000) / 1000,
      layers: [...layers],
      kept,
    }))
  }
}

function keyOf({ operationId, userId }: Pick<OperationReport, 'operationId' | 'userId'>): string {
  return operationKey({ id: operationId, userId })
}

/** ISO 8601; the epoch for what is no time. */
export function isoOf(ms: number): string {
  const date = new Date(ms)
  return Number.isNaN(date.getTime()) ? new Date(0).toISOString() : date.toISOString()
}

import { useState } from 'react'
import type { DashboardData, GapFigures, HistoryPoint } from '../../../src/monitor/model/dashboard-data.ts'
import type { GapKind } from '../../../src/monitor/model/kinds.ts'
import * as format from '../format.ts'
import { gapLabels } from '../labels.ts'
import { lengthOf } from '../state/window.ts'
import { Chart } from './Chart.tsx'
import { ChartTable } from './ChartTable.tsx'
import { chartSpan, seconds } from './chart-data.ts'
import type { Column } from './DataTable.tsx'
import { Time } from './text.tsx'

// Lower end of a logarithmic axis, which has no 0.
const leastMs = 0.1

interface GapChartProps {
  readonly kind: GapKind
  readonly figures: GapFigures
  readonly data: DashboardData
}

export function GapChart({ kind, figures, data }: GapChartProps) {
  const [index, setIndex] = useState<number>()
  const { history } = data
  const values = (figure: 'p50' | 'p99'): (number | null)[] =>
    history.map(({ gaps }) => {
      const value = gaps[kind]?.[figure]
      return value === undefined ? null : Math.max(leastMs, value)
    })
  const p99 = values('p99')
  const p50 = values('p50')
  const point = index === undefined ? undefined : history[index]?.gaps[kind]
  const shown = point ?? figures
  const when = index === undefined || point === undefined ? '' : `${format.time(history[index]?.at ?? '')} `
  return (
    <div className="gap-chart">
      <h3>
        {gapLabels[kind]}
        <span className="hint">
          {when}p50 {format.duration(shown.p50)}, p99 {format.duration(shown.p99)}
        </span>
      </h3>
      <Chart
        data={[history.map(({ at }) => seconds(at)), p50, p99]}
        series={(palette) => [
          { stroke: palette.first, width: 2, points: { size: 5, fill: palette.first } },
          { stroke: palette.second, width: 2, dash: [6, 4], points: { size: 5, fill: palette.second } },
        ]}
        range={() => decadesAround([...p50, ...p99], figures.thresholdMs)}
        span={chartSpan(data)}
        height={150}
        isLog
        tick={tick}
        lines={[{ at: figures.thresholdMs, label: format.duration(figures.thresholdMs) }]}
        summary={`${gapLabels[kind]} over the last ${lengthOf(data.windowMinutes)}: p50 ${format.duration(figures.p50)}, p99 ${format.duration(figures.p99)}, threshold ${format.duration(figures.thresholdMs)}, ${format.count(figures.over)} over it, ${format.count(figures.early)} early.`}
        onPoint={setIndex}
      />
      <ChartTable
        caption={`${gapLabels[kind]} over time`}
        columns={columnsOf(kind)}
        points={history.filter(({ gaps }) => gaps[kind] !== undefined)}
      />
    </div>
  )
}

const tick = (ms: number): string => (ms < 1_000 ? `${ms} ms` : `${ms / 1_000} s`)

function decadesAround(values: readonly (number | null)[], thresholdMs: number): [number, number] {
  const known = [...values.filter((value) => value !== null), Math.max(leastMs, thresholdMs)]
  const least = Math.min(1, ...known)
  return [10 ** Math.floor(Math.log10(least)), 10 ** Math.ceil(Math.log10(Math.max(...known) * 1.5))]
}

function columnsOf(kind: GapKind): readonly Column<HistoryPoint>[] {
  const figure = (name: 'p50' | 'p99' | 'max'): Column<HistoryPoint> => ({
    head: name,
    cell: ({ gaps }) => format.duration(gaps[kind]?.[name] ?? 0),
    isNumber: true,
  })
  return [
    { head: 'From', cell: ({ at }) => <Time at={at} /> },
    { head: 'Count', cell: ({ gaps }) => format.count(gaps[kind]?.count ?? 0), isNumber: true },
    figure('p50'),
    figure('p99'),
    figure('max'),
  ]
}

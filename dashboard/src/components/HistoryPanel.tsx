import { useState } from 'react'
import type { DashboardData, HistoryPoint } from '../../../src/monitor/model/dashboard-data.ts'
import * as format from '../format.ts'
import { lengthOf } from '../state/window.ts'
import { Chart } from './Chart.tsx'
import { ChartTable } from './ChartTable.tsx'
import { chartSpan, seconds } from './chart-data.ts'
import type { Column } from './DataTable.tsx'
import { Section } from './Section.tsx'
import { Time } from './text.tsx'

const columns: readonly Column<HistoryPoint>[] = [
  { head: 'From', cell: ({ at }) => <Time at={at} /> },
  { head: 'Score', cell: ({ score }) => format.score(score), isNumber: true },
  { head: 'Operations', cell: ({ operations }) => format.count(operations), isNumber: true },
  { head: 'Out of step', cell: ({ unhealthy }) => format.count(unhealthy), isNumber: true },
]

export function HistoryPanel({ data }: { readonly data: DashboardData }) {
  const [index, setIndex] = useState<number>()
  const { history, score } = data
  const lowest = lowestOf(history)
  const floor = Math.min(0.7, Math.floor((lowest?.score ?? 1) * 10) / 10)
  return (
    <Section title="Score over time" hint={readout(data, history[index ?? -1])} wide="most">
      <Chart
        data={[history.map(({ at }) => seconds(at)), history.map((point) => point.score)]}
        series={(palette) => [
          {
            stroke: palette.first,
            fill: palette.firstSoft,
            width: 2,
            points: { size: 7, fill: palette.first },
          },
        ]}
        range={() => [floor, 1.005]}
        span={chartSpan(data)}
        height={220}
        tick={(value) => value.toFixed(2)}
        lines={[
          { at: score.alertBelow, label: `alert below ${score.alertBelow}` },
          { at: score.recoverAbove, label: `recovered above ${score.recoverAbove}` },
        ]}
        summary={summary(data, lowest)}
        onPoint={setIndex}
      />
      <ChartTable
        caption="Score over time"
        columns={columns}
        points={history.filter((point) => point.score !== null)}
      />
    </Section>
  )
}

function lowestOf(history: readonly HistoryPoint[]): HistoryPoint | undefined {
  return history
    .filter((point) => point.score !== null)
    .reduce<HistoryPoint | undefined>(
      (lowest, point) => ((point.score ?? 1) < (lowest?.score ?? 2) ? point : lowest),
      undefined,
    )
}

function readout(data: DashboardData, point: HistoryPoint | undefined): string {
  if (point === undefined)
    return `alert below ${data.score.alertBelow}, recovered above ${data.score.recoverAbove}`
  const operations = format.plural(point.operations, 'operation', 'operations')
  return `${format.time(point.at)}: ${format.score(point.score)}, ${operations}, ${format.count(point.unhealthy)} out of step`
}

function summary(data: DashboardData, lowest: HistoryPoint | undefined): string {
  const window = lengthOf(data.windowMinutes)
  if (lowest === undefined) return `Score over the last ${window}: no point yet.`
  return `Score over the last ${window}: lowest ${format.score(lowest.score)} at ${format.time(lowest.at)}, over the whole window ${format.score(data.score.overall)}.`
}

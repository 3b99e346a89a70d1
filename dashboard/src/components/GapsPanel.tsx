import type { DashboardData, GapFigures } from '../../../src/monitor/model/dashboard-data.ts'
import type { GapKind } from '../../../src/monitor/model/kinds.ts'
import * as format from '../format.ts'
import { gapKinds, gapLabels } from '../labels.ts'
import { DataTable, type Column } from './DataTable.tsx'
import { GapChart } from './GapChart.tsx'
import { Nothing, Section } from './Section.tsx'
import { State } from './State.tsx'

interface KindFigures {
  readonly kind: GapKind
  readonly figures: GapFigures
}

export function GapsPanel({ data }: { readonly data: DashboardData }) {
  const rows = gapKinds.map((kind) => ({ kind, figures: data.gaps[kind] }))
  const measured = rows.filter(({ figures }) => figures.count > 0)
  const unmeasured = rows.filter(({ figures }) => figures.count === 0)
  return (
    <Section title="Gaps by layer" hint="from the end of an operation to what another layer did about it">
      {measured.length === 0 ? (
        <Nothing>
          {data.level === 'counters' || data.level === 'off'
            ? `No gaps at the level ${data.level}: choose sampled or full.`
            : 'No gap in this window.'}
        </Nothing>
      ) : (
        <>
          <p className="series-key" aria-hidden="true">
            <span data-series="p50">half of them within (p50)</span>
            <span data-series="p99">99 of 100 within (p99)</span>
            <span data-series="threshold">threshold</span>
          </p>
          <div className="gap-charts">
            {measured.map(({ kind, figures }) => (
              <GapChart key={kind} kind={kind} figures={figures} data={data} />
            ))}
          </div>
        </>
      )}
      {measured.length > 0 && (
        <DataTable caption="Gaps by layer" columns={columns} rows={measured} keyOf={({ kind }) => kind} />
      )}
      {measured.length > 0 && unmeasured.length > 0 && (
        <p className="hint">
          No gaps in this window: {unmeasured.map(({ kind }) => gapLabels[kind]).join(', ')}.
        </p>
      )}
    </Section>
  )
}

function number(head: string, figure: (figures: GapFigures) => string): Column<KindFigures> {
  return { head, cell: ({ figures }) => figure(figures), isNumber: true }
}

const columns: readonly Column<KindFigures>[] = [
  { head: 'Layer', cell: ({ kind }) => gapLabels[kind] },
  { head: 'Count', cell: ({ figures }) => format.count(figures.count), isNumber: true },
  number('Average', ({ average }) => format.duration(average)),
  number('p50', ({ p50 }) => format.duration(p50)),
  number('p99', ({ p99 }) => format.duration(p99)),
  number('Max', ({ max }) => format.duration(max)),
  number('Min, signed', ({ min }) => format.gap(min)),
  { head: 'Threshold', cell: ({ figures }) => format.duration(figures.thresholdMs), isNumber: true },
  { head: 'Early', cell: ({ figures }) => <Count value={figures.early} />, isNumber: true },
  { head: 'Over', cell: ({ figures }) => <Count value={figures.over} />, isNumber: true },
]

function Count({ value }: { readonly value: number }) {
  return value > 0 ? <State tone="bad">{format.count(value)}</State> : '0'
}

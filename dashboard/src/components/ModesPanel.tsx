import type { DashboardData, DashboardMode } from '../../../src/monitor/model/dashboard-data.ts'
import { modeHints } from '../labels.ts'
import { DataTable, type Column } from './DataTable.tsx'
import { Nothing, Section } from './Section.tsx'
import { Clip } from './text.tsx'

const columns: readonly Column<DashboardMode>[] = [
  {
    head: 'Operation',
    cell: ({ operation }) => (operation === '*' ? 'every other' : <Clip text={operation} mono />),
  },
  {
    head: 'Mode',
    cell: ({ mode }) => (
      <span className="tag" data-mode={mode} title={modeHints[mode]}>
        {mode}
      </span>
    ),
  },
  {
    head: 'For',
    cell: ({ percentage, otherwise }) =>
      percentage >= 100 ? 'everyone' : `${percentage} % of users, others ${otherwise}`,
  },
]

export function ModesPanel({ data }: { readonly data: DashboardData }) {
  return (
    <Section title="Rollout modes" wide="some">
      {data.modes.length === 0 ? (
        <Nothing>Every operation runs in enforce: events leave after the commit.</Nothing>
      ) : (
        <DataTable
          caption="Rollout mode of each operation"
          columns={columns}
          rows={data.modes}
          keyOf={({ operation }) => operation}
        />
      )}
    </Section>
  )
}

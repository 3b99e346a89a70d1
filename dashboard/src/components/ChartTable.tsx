import { useState } from 'react'
import type { HistoryPoint } from '../../../src/monitor/model/dashboard-data.ts'
import { DataTable, type Column } from './DataTable.tsx'
import { Nothing } from './Section.tsx'

const most = 20

interface ChartTableProps {
  readonly caption: string
  readonly columns: readonly Column<HistoryPoint>[]
  readonly points: readonly HistoryPoint[]
}

/** The latest points of a chart, for those who do not see it. */
export function ChartTable({ caption, columns, points }: ChartTableProps) {
  const [isOpen, setIsOpen] = useState(false)
  const rows = points.slice(-most).toReversed()
  return (
    <details className="chart-table" open={isOpen} onToggle={(event) => setIsOpen(event.currentTarget.open)}>
      <summary>As a table</summary>
      {isOpen && rows.length === 0 && <Nothing>No point in this window.</Nothing>}
      {isOpen && rows.length > 0 && (
        <DataTable
          caption={`${caption}, latest first`}
          columns={columns}
          rows={rows}
          keyOf={({ at }) => at}
        />
      )}
    </details>
  )
}

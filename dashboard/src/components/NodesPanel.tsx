import type { DashboardData, DashboardNode } from '../../../src/monitor/model/dashboard-data.ts'
import * as format from '../format.ts'
import { DataTable, type Column } from './DataTable.tsx'
import { Nothing, Section } from './Section.tsx'
import { State } from './State.tsx'
import { Clip, Time } from './text.tsx'

const columns: readonly Column<DashboardNode>[] = [
  {
    head: 'Node',
    cell: ({ node, isThis }) => (
      <>
        <Clip text={node} mono />
        {isThis && <span className="tag">this one</span>}
      </>
    ),
  },
  { head: 'State', cell: (node) => <NodeState node={node} /> },
  { head: 'Lease', cell: ({ leaseMs }) => lease(leaseMs), isNumber: true },
  {
    head: 'Connections',
    cell: ({ live, connections }) => (live ? format.count(connections) : '–'),
    isNumber: true,
  },
  {
    head: 'Open operations',
    cell: ({ live, openOperations }) => (live ? format.count(openOperations) : '–'),
    isNumber: true,
  },
  { head: 'Bus', cell: ({ live, bus }) => (bus === null || !live ? '–' : <Clip text={bus} />) },
  { head: 'Score', cell: ({ score }) => format.score(score), isNumber: true },
  { head: 'Operations', cell: ({ operations }) => format.count(operations), isNumber: true },
  { head: 'Started', cell: ({ startedAt }) => <Time at={startedAt} />, isNumber: true },
]

export function NodesPanel({ data }: { readonly data: DashboardData }) {
  const live = data.nodes.filter((node) => node.live).length
  return (
    <Section
      title="Nodes and leases"
      hint={data.nodes.length === 0 ? undefined : `${live} of ${data.nodes.length} alive`}
    >
      {data.nodes.length === 0 ? (
        <Nothing>
          {data.isFresh ? 'Not read at this level.' : 'Not known while the database is away.'}
        </Nothing>
      ) : (
        <DataTable
          caption="Nodes and their leases"
          columns={columns}
          rows={data.nodes}
          keyOf={({ node, startedAt }) => `${node} ${startedAt}`}
        />
      )}
    </Section>
  )
}

function NodeState({ node }: { readonly node: DashboardNode }) {
  if (node.live) return <State tone="good">Alive</State>
  return node.leaseMs === null ? <State tone="plain">Left</State> : <State tone="bad">Dead</State>
}

function lease(leaseMs: number | null): string {
  if (leaseMs === null) return 'given back'
  return leaseMs < 0 ? `${format.duration(-leaseMs)} ago` : `${format.duration(leaseMs)} left`
}

import type {
  DashboardData,
  DashboardLayer,
  DashboardOperation,
} from '../../../src/monitor/model/dashboard-data.ts'
import type { Thresholds } from '../../../src/monitor/model/kinds.ts'
import * as format from '../format.ts'
import { gapKindOf, layerLabels, modeHints } from '../labels.ts'
import { useOpenRows } from '../state/hooks.ts'
import { DataTable, type Column } from './DataTable.tsx'
import { ExpandableRow } from './ExpandableRow.tsx'
import { AlertIcon, TickIcon, UndoIcon } from './icons.tsx'
import { Nothing, Section } from './Section.tsx'
import { ShowMore, useShowMore } from './ShowMore.tsx'
import { State } from './State.tsx'
import { Clip, Hidden, Time } from './text.tsx'
import { LayerShape, Legend, Timeline, TimelineAxis } from './Timeline.tsx'
import { timelineScale } from './timeline-scale.ts'

export function OperationsPanel({ data }: { readonly data: DashboardData }) {
  const more = useShowMore(data.operations, 10)
  const [isOpen, toggle] = useOpenRows()
  const scale = timelineScale(data.operations)
  return (
    <Section title="Operations" hint="of this node, newest first; milliseconds from the end of each">
      {data.operations.length === 0 ? (
        <Nothing>No operation has ended on this node since it started. Other nodes list theirs.</Nothing>
      ) : (
        <>
          <Legend />
          <TimelineAxis scale={scale} />
          <ul className="rows">
            {more.shown.map((operation) => (
              <ExpandableRow
                key={operation.id}
                isOpen={isOpen(operation.id)}
                onToggle={() => toggle(operation.id)}
                className="operation"
                head={
                  <>
                    <OperationHead operation={operation} />
                    <Timeline operation={operation} scale={scale} />
                    <OperationFigures operation={operation} />
                  </>
                }
              >
                <OperationDetail operation={operation} thresholds={data.thresholds} />
              </ExpandableRow>
            ))}
          </ul>
          <ShowMore more={more} what="operations" />
        </>
      )}
    </Section>
  )
}

function OperationHead({ operation }: { readonly operation: DashboardOperation }) {
  const { outcome, kept } = operation
  const [tone, words, Icon] = kept
    ? outcome === 'committed'
      ? (['good', 'Committed', TickIcon] as const)
      : (['undone', 'Rolled back', UndoIcon] as const)
    : ([
        'bad',
        outcome === 'committed' ? 'Committed, out of step' : 'Rolled back, out of step',
        AlertIcon,
      ] as const)
  return (
    <>
      <span className="row-sign" data-tone={tone} title={words}>
        <Icon />
        <Hidden>{`${words}: `}</Hidden>
      </span>
      <span className="row-name">
        <span className="row-title">
          <Clip text={operation.name} mono />
        </span>
        <span className="hint">
          <Clip text={operation.user} />
          {operation.mode !== 'enforce' && <span className="tag">{operation.mode}</span>}
        </span>
      </span>
    </>
  )
}

function OperationFigures({ operation }: { readonly operation: DashboardOperation }) {
  const early = operation.layers.filter(({ gapMs }) => gapMs < 0)
  return (
    <span className="row-figures">
      <span>
        {early.length > 0 ? (
          <span className="bad">{format.gap(Math.min(...early.map(({ gapMs }) => gapMs)))} early</span>
        ) : (
          format.duration(operation.durationMs)
        )}
      </span>
      <span className="hint">
        <Time at={operation.endedAt} />
      </span>
    </span>
  )
}

interface OperationDetailProps {
  readonly operation: DashboardOperation
  readonly thresholds: Thresholds
}

function OperationDetail({ operation, thresholds }: OperationDetailProps) {
  const rows = operation.layers.map((reached, index) => ({ reached, key: String(index) }))
  return (
    <>
      <dl className="facts">
        <dt>Operation id</dt>
        <dd>
          <Clip text={operation.id} mono />
        </dd>
        <dt>Transaction</dt>
        <dd>
          {operation.outcome === 'committed' ? 'committed' : 'rolled back'} after{' '}
          {format.duration(operation.durationMs)}, at <Time at={operation.endedAt} full />
        </dd>
        <dt>Mode</dt>
        <dd>
          {operation.mode}. {modeHints[operation.mode]}
        </dd>
        <dt>Node</dt>
        <dd>
          <Clip text={operation.node} mono />
        </dd>
      </dl>
      {rows.length === 0 ? (
        <Nothing>No layer has shown it yet.</Nothing>
      ) : (
        <DataTable
          caption="Layers that this operation has reached"
          columns={layerColumns(thresholds)}
          rows={rows}
          keyOf={({ key }) => key}
        />
      )}
    </>
  )
}

function layerColumns(thresholds: Thresholds): readonly Column<{ readonly reached: DashboardLayer }>[] {
  return [
    {
      head: 'Layer',
      cell: ({ reached }) => (
        <span className="layer">
          <LayerShape layer={reached.layer} isEarly={reached.gapMs < 0} />
          {layerLabels[reached.layer] ?? reached.layer}
        </span>
      ),
    },
    {
      head: 'Channel',
      cell: ({ reached }) => (reached.channel === undefined ? '–' : <Clip text={reached.channel} mono />),
    },
    {
      head: 'Gap',
      cell: ({ reached: { gapMs, errorMs } }) =>
        errorMs === undefined || errorMs === 0
          ? format.gap(gapMs)
          : `${format.gap(gapMs)} ± ${format.duration(errorMs)}`,
      isNumber: true,
    },
    { head: 'Verdict', cell: ({ reached }) => <Verdict reached={reached} thresholds={thresholds} /> },
  ]
}

function Verdict({
  reached,
  thresholds,
}: {
  readonly reached: DashboardLayer
  readonly thresholds: Thresholds
}) {
  const thresholdMs = thresholds[gapKindOf[reached.layer]]
  // A layer whose clock may be wrong by this much has not been shown to be early.
  if (reached.gapMs < -(reached.errorMs ?? 0)) return <State tone="bad">Too early</State>
  if (reached.gapMs > thresholdMs) return <State tone="bad">{`Over ${format.duration(thresholdMs)}`}</State>
  return <State tone="good">In step</State>
}

import type { Layer } from '../../../src/core/probe.ts'
import type { DashboardLayer, DashboardOperation } from '../../../src/monitor/model/dashboard-data.ts'
import { layerLabels } from '../labels.ts'
import type { TimelineScale } from './timeline-scale.ts'

const shapes: Readonly<Record<Layer, string>> = {
  websocket: 'M6 1.5a4.5 4.5 0 1 1 0 9a4.5 4.5 0 1 1 0-9',
  bus: 'M6 .8 11.2 6 6 11.2 .8 6z',
  client: 'M6 1.2 11.4 10.6H.6z',
  notice: 'M1.8 1.8h8.4v8.4H1.8z',
  cache: 'M6 .8l5 3.7-1.9 6H2.9L1 4.5z',
  agent: 'M4.3 1h3.4v3.3H11v3.4H7.7V11H4.3V7.7H1V4.3h3.3z',
}

/** Width of a mark in per cent of the line. */
const markWidth = 2.4

export function LayerShape({
  layer,
  isEarly = false,
}: {
  readonly layer: Layer
  readonly isEarly?: boolean
}) {
  return (
    <svg
      className="shape"
      data-layer={layer}
      data-early={isEarly || undefined}
      viewBox="-4 -4 20 20"
      aria-hidden="true"
    >
      {isEarly && <circle className="shape-ring" cx="6" cy="6" r="8.4" />}
      <path d={shapes[layer] ?? shapes.websocket} />
    </svg>
  )
}

export function Legend() {
  return (
    <ul className="legend">
      {(Object.keys(shapes) as Layer[]).map((layer) => (
        <li key={layer}>
          <LayerShape layer={layer} />
          {layerLabels[layer]}
        </li>
      ))}
      <li>
        <LayerShape layer="websocket" isEarly />
        too early
      </li>
    </ul>
  )
}

/** Shows the layers of an operation to the eye only: the table of the opened row has the same. */
export function Timeline({
  operation,
  scale,
}: {
  readonly operation: DashboardOperation
  readonly scale: TimelineScale
}) {
  const began = scale.place(-operation.durationMs)
  const zero = scale.place(0)
  return (
    <span className="timeline" aria-hidden="true">
      <span className="timeline-zero" style={{ left: `${zero}%` }} />
      <span
        className="timeline-work"
        data-outcome={operation.outcome}
        style={{ left: `${began}%`, width: `${zero - began}%` }}
      />
      {placed(operation, scale).map(({ key, left, isRaised, reached }) => (
        <span
          key={key}
          className="timeline-mark"
          data-raised={isRaised || undefined}
          style={{ left: `${left}%` }}
        >
          <LayerShape layer={reached.layer} isEarly={reached.gapMs < 0} />
        </span>
      ))}
    </span>
  )
}

interface PlacedMark {
  readonly key: string
  readonly left: number
  readonly isRaised: boolean
  readonly reached: DashboardLayer
}

// Marks that would hide each other stand alternately above and below the line.
function placed(operation: DashboardOperation, scale: TimelineScale): readonly PlacedMark[] {
  const marks: PlacedMark[] = []
  for (const reached of operation.layers.toSorted((one, other) => one.gapMs - other.gapMs)) {
    const left = scale.place(reached.gapMs)
    const before = marks.at(-1)
    const isRaised = before !== undefined && left - before.left < markWidth && !before.isRaised
    marks.push({ key: `${reached.layer} ${reached.channel ?? ''} ${marks.length}`, left, isRaised, reached })
  }
  return marks
}

export function TimelineAxis({ scale }: { readonly scale: TimelineScale }) {
  return (
    <div className="axis" aria-hidden="true">
      <span className="axis-line">
        {scale.ticks.map((ms) => (
          <span
            key={ms}
            className="axis-tick"
            data-minor={Math.abs(ms) === 10 || Math.abs(ms) === 1_000 || undefined}
            style={{ left: `${scale.place(ms)}%` }}
          >
            {tickLabel(ms)}
          </span>
        ))}
      </span>
      <span className="axis-took">took</span>
    </div>
  )
}

function tickLabel(ms: number): string {
  if (ms === 0) return 'end'
  const size = Math.abs(ms)
  return `${ms < 0 ? '−' : '+'}${size < 1_000 ? size : `${size / 1_000} s`}`
}

import type { DashboardData } from '../../../src/monitor/model/dashboard-data.ts'
import * as format from '../format.ts'
import { gapKinds, gapLabels } from '../labels.ts'
import { lengthOf } from '../state/window.ts'
import { Section } from './Section.tsx'
import { State } from './State.tsx'

export function ScorePanel({ data }: { readonly data: DashboardData }) {
  const { score } = data
  const isMeasured = score.operations > 0 || score.unhealthy > 0
  return (
    <Section title="Score" hint={`over the last ${lengthOf(data.windowMinutes)}`} wide="some">
      <div className="score" data-alert={score.alert}>
        <p className="score-value">{isMeasured ? format.score(score.overall) : '–'}</p>
        <div>
          <AlertState data={data} />
          <p className="hint">
            {score.unhealthy === 0
              ? `${format.plural(score.operations, 'operation', 'operations')}, all in step`
              : `${format.count(score.unhealthy)} of ${format.plural(score.operations, 'operation', 'operations')} out of step`}
          </p>
        </div>
      </div>
      <h3 className="visually-hidden">Score by layer</h3>
      <ul className="kinds">
        {gapKinds.map((kind) => (
          <KindScore
            key={kind}
            label={gapLabels[kind]}
            value={score.kinds[kind]}
            alertBelow={score.alertBelow}
          />
        ))}
      </ul>
    </Section>
  )
}

function AlertState({ data }: { readonly data: DashboardData }) {
  const { alert, since, alertBelow, recoverAbove, overall } = data.score
  const sinceWhen = since === null ? '' : ` since ${format.shortTime(since)}`
  if (alert === 'firing') {
    return (
      <>
        <State tone="bad">{`Alert${sinceWhen}`}</State>
        <p className="hint">{`Recovers above ${recoverAbove}`}</p>
      </>
    )
  }
  return overall < alertBelow ? (
    <State tone="wait">{`Below ${alertBelow}`}</State>
  ) : (
    <State tone="good">{`In step${sinceWhen}`}</State>
  )
}

interface KindScoreProps {
  readonly label: string
  readonly value: number | null
  readonly alertBelow: number
}

function KindScore({ label, value, alertBelow }: KindScoreProps) {
  return (
    <li className="kind" data-tone={value === null ? 'none' : value < alertBelow ? 'bad' : 'good'}>
      <span>{label}</span>
      <span className="kind-bar" aria-hidden="true">
        <span style={{ width: `${Math.max(0, Math.min(1, value ?? 0)) * 100}%` }} />
      </span>
      <span className="kind-value">{value === null ? 'no gaps' : format.score(value)}</span>
    </li>
  )
}

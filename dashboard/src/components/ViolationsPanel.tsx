import type { DashboardData } from '../../../src/monitor/model/dashboard-data.ts'
import type { Violation } from '../../../src/monitor/model/kinds.ts'
import * as format from '../format.ts'
import { violationKinds, violationLabels } from '../labels.ts'
import { useOpenRows } from '../state/hooks.ts'
import { ExpandableRow } from './ExpandableRow.tsx'
import { AlertIcon } from './icons.tsx'
import { Nothing, Section } from './Section.tsx'
import { ShowMore, useShowMore } from './ShowMore.tsx'
import { Clip, Time } from './text.tsx'

export function ViolationsPanel({ data }: { readonly data: DashboardData }) {
  const { counts, recent, notStored } = data.violations
  const more = useShowMore(recent, 8)
  const [isOpen, toggle] = useOpenRows()
  return (
    <Section title="Violations" hint="found from the log and from what left the sockets" wide="half">
      <dl className="counts">
        {violationKinds.map((kind) => (
          <div key={kind} data-tone={(counts[kind] ?? 0) > 0 ? 'bad' : 'plain'}>
            <dt>{violationLabels[kind]}</dt>
            <dd>{format.count(counts[kind] ?? 0)}</dd>
          </div>
        ))}
      </dl>
      <Flood notStored={notStored} unwatched={data.unwatched} />
      {recent.length === 0 ? (
        <Nothing>No layer has left its boundary in this window.</Nothing>
      ) : (
        <>
          <ul className="rows">
            {more.shown.map((violation) => {
              const id = `${violation.operationId} ${violation.kind}`
              return (
                <ExpandableRow
                  key={id}
                  isOpen={isOpen(id)}
                  onToggle={() => toggle(id)}
                  className="violation"
                  head={<ViolationHead violation={violation} />}
                >
                  <ViolationDetail violation={violation} />
                </ExpandableRow>
              )
            })}
          </ul>
          <ShowMore more={more} what="violations" />
        </>
      )}
    </Section>
  )
}

function Flood({ notStored, unwatched }: { readonly notStored: number; readonly unwatched: number }) {
  const parts = [
    ...(notStored > 0
      ? [`${format.plural(notStored, 'violation was', 'violations were')} counted but not kept.`]
      : []),
    ...(unwatched > 0 ? [`${format.plural(unwatched, 'report', 'reports')} could not be examined.`] : []),
  ]
  return parts.length === 0 ? null : <p className="note">Too many at once: {parts.join(' ')}</p>
}

function ViolationHead({ violation }: { readonly violation: Violation }) {
  return (
    <>
      <span className="row-sign" data-tone="bad">
        <AlertIcon />
      </span>
      <span className="row-name">
        <span className="row-title">{violationLabels[violation.kind] ?? <Clip text={violation.kind} />}</span>
        <span className="hint">
          <Clip text={violation.operation ?? 'unknown operation'} mono />
        </span>
      </span>
      <span className="row-figures">
        <span>{violation.gapMs === undefined ? '' : format.gap(violation.gapMs)}</span>
        <span className="hint">
          <Time at={violation.at} />
        </span>
      </span>
    </>
  )
}

function ViolationDetail({ violation }: { readonly violation: Violation }) {
  return (
    <>
      <p className="detail-text">
        <bdi>{violation.detail.slice(0, 2_000)}</bdi>
      </p>
      <dl className="facts">
        <dt>Kind</dt>
        <dd className="mono">{violation.kind}</dd>
        <dt>Operation id</dt>
        <dd>
          <Clip text={violation.operationId} mono />
        </dd>
        <dt>Layers</dt>
        <dd>
          <Clip text={violation.layers.length === 0 ? 'none' : violation.layers.join(', ')} />
        </dd>
        <dt>Node</dt>
        <dd>
          <Clip text={violation.node} mono />
        </dd>
        <dt>Time</dt>
        <dd>
          <Time at={violation.at} full />
        </dd>
      </dl>
      {violation.stack !== undefined && (
        <pre className="code" tabIndex={0} aria-label="Stack">
          <code>{violation.stack.slice(0, 20_000)}</code>
        </pre>
      )}
    </>
  )
}

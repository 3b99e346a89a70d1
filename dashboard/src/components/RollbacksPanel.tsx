import type { DashboardData, DashboardRollback } from '../../../src/monitor/model/dashboard-data.ts'
import * as format from '../format.ts'
import { Nothing, Section } from './Section.tsx'
import { ShowMore, useShowMore } from './ShowMore.tsx'
import { State } from './State.tsx'
import { Clip, Time } from './text.tsx'

export function RollbacksPanel({ data }: { readonly data: DashboardData }) {
  const { told, untold, recent } = data.rollbacks
  const more = useShowMore(recent, 6)
  return (
    <Section
      title="Rollbacks"
      hint="notified: the notice is stored where the user's client finds it"
      wide="half"
    >
      <dl className="counts counts-two">
        <div data-tone="plain">
          <dt>Notified</dt>
          <dd>{format.count(told)}</dd>
        </div>
        <div data-tone={untold > 0 ? 'bad' : 'plain'}>
          <dt>Not notified</dt>
          <dd>{format.count(untold)}</dd>
        </div>
      </dl>
      {recent.length === 0 ? (
        <Nothing>Nothing was rolled back in this window.</Nothing>
      ) : (
        <>
          <ul className="rollbacks">
            {more.shown.map((rollback) => (
              <Rollback key={rollback.id} rollback={rollback} />
            ))}
          </ul>
          <ShowMore more={more} what="rollbacks" />
        </>
      )}
    </Section>
  )
}

function Rollback({ rollback }: { readonly rollback: DashboardRollback }) {
  return (
    <li className="rollback">
      <span className="rollback-line">
        <Clip text={rollback.name} mono />
        <Time at={rollback.at} />
      </span>
      <span className="rollback-line">
        <span className="rollback-user hint">
          for <Clip text={rollback.user} />
        </span>
        {rollback.told ? <State tone="good">Notified</State> : <State tone="bad">Not notified</State>}
      </span>
      {rollback.userMessage !== null && (
        <q className="rollback-message" title={rollback.userMessage.slice(0, 2_000)}>
          <bdi>{rollback.userMessage}</bdi>
        </q>
      )}
    </li>
  )
}

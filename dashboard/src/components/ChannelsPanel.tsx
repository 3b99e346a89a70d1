import type { DashboardChannel, DashboardData } from '../../../src/monitor/model/dashboard-data.ts'
import * as format from '../format.ts'
import { DataTable, type Column } from './DataTable.tsx'
import { Nothing, Section } from './Section.tsx'
import { ShowMore, useShowMore } from './ShowMore.tsx'
import { State } from './State.tsx'
import { Clip } from './text.tsx'

const columns: readonly Column<DashboardChannel>[] = [
  { head: 'Channel', cell: ({ channel }) => <Clip text={channel} mono /> },
  { head: 'Events a second', cell: ({ perSecond }) => format.rate(perSecond), isNumber: true },
  {
    head: 'Lag',
    cell: ({ lagMs }) => (lagMs > 0 ? <State tone="wait">{format.duration(lagMs)}</State> : 'level'),
    isNumber: true,
  },
  { head: 'Subscribers', cell: ({ subscribers }) => format.count(subscribers), isNumber: true },
  { head: 'Head', cell: ({ head }) => format.count(head), isNumber: true },
]

export function ChannelsPanel({ data }: { readonly data: DashboardData }) {
  const more = useShowMore(data.channels, 8)
  return (
    <Section title="Channels" hint="the busiest of this node" wide="most">
      {data.channels.length === 0 ? (
        <Nothing>
          {data.level === 'off'
            ? 'Not read at this level.'
            : 'Nobody is subscribed to a channel on this node.'}
        </Nothing>
      ) : (
        <>
          <DataTable
            caption="Channels by rate and lag"
            columns={columns}
            rows={more.shown}
            keyOf={({ channel }) => channel}
          />
          <ShowMore more={more} what="channels" />
        </>
      )}
    </Section>
  )
}

import type { DashboardData } from '../../../src/monitor/model/dashboard-data.ts'
import { ChannelsPanel } from './ChannelsPanel.tsx'
import { EmptyNotice } from './EmptyNotice.tsx'
import { GapsPanel } from './GapsPanel.tsx'
import { HistoryPanel } from './HistoryPanel.tsx'
import { ModesPanel } from './ModesPanel.tsx'
import { NodesPanel } from './NodesPanel.tsx'
import { OperationsPanel } from './OperationsPanel.tsx'
import { RollbacksPanel } from './RollbacksPanel.tsx'
import { ScorePanel } from './ScorePanel.tsx'
import { ViolationsPanel } from './ViolationsPanel.tsx'

export function Dashboard({ data }: { readonly data: DashboardData }) {
  return (
    <div className="grid">
      {isEmpty(data) ? (
        <EmptyNotice level={data.level} minutes={data.windowMinutes} />
      ) : (
        <>
          <ScorePanel data={data} />
          <HistoryPanel data={data} />
          <GapsPanel data={data} />
          <OperationsPanel data={data} />
          <ViolationsPanel data={data} />
          <RollbacksPanel data={data} />
        </>
      )}
      <NodesPanel data={data} />
      <ChannelsPanel data={data} />
      <ModesPanel data={data} />
    </div>
  )
}

const isEmpty = (data: DashboardData): boolean =>
  data.score.operations === 0 &&
  data.score.unhealthy === 0 &&
  data.score.alert === 'ok' &&
  data.operations.length === 0 &&
  data.violations.recent.length === 0 &&
  data.rollbacks.recent.length === 0

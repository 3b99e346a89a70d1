import {
  countRollbacks,
  readHeads,
  readNodes,
  readRollbacks,
  toHeads,
  type NodeRow,
  type RollbackRow,
} from '../postgres/index.ts'
import type { ClusterAlert } from './alert/cluster-alert.ts'
import type { ChannelRates } from './measure/channel-rates.ts'
import type { DashboardChannel, DashboardData, DashboardNode, Gaps, Score } from './model/dashboard-data.ts'
import { firstMinute, type History } from './store/history.ts'
import type { Violation } from './model/kinds.ts'
import type { HealthMonitorOptions, MonitorSettings } from './monitor-options.ts'
import { isoOf } from './measure/recent-operations.ts'
import type { OpenRollUp } from './measure/open-roll-up.ts'

export interface DashboardParts {
  readonly options: HealthMonitorOptions
  readonly settings: MonitorSettings
  readonly history: History
  readonly live: OpenRollUp
  readonly rates: ChannelRates
  readonly clusterAlert: ClusterAlert
  readonly window: number
  readonly nowMs: number
  readonly score: Score
  readonly gaps: Gaps
  readonly violations: readonly Violation[]
  readonly operations: DashboardData['operations']
}

const mostNodes = 100
const mostRollbacks = 50

/** Reads what the dashboard shows. Parts that need the database are empty while it is away, and `isFresh` is false. */
export async function readDashboard(parts: DashboardParts): Promise<DashboardData> {
  const { options, settings, history, live, window, nowMs, score, clusterAlert } = parts
  const counts = history.violations(window, nowMs, live)
  const losses = history.losses(window, nowMs, live)
  const stored = await readStored(parts, counts.missing_rollback_notification)
  return {
    at: isoOf(nowMs),
    node: options.node(),
    level: settings.level,
    windowMinutes: window,
    isFresh: stored.isFresh,
    score: {
      overall: score.overall,
      operations: score.operations,
      unhealthy: score.unhealthy,
      kinds: score.kinds,
      alert: clusterAlert.state,
      since: clusterAlert.sinceMs === null ? null : isoOf(clusterAlert.sinceMs),
      alertBelow: settings.alertBelow,
      recoverAbove: settings.recoverAbove,
    },
    modes: options.modes?.() ?? [],
    history: history.points(window, nowMs, settings.thresholds),
    gaps: parts.gaps,
    thresholds: settings.thresholds,
    violations: { counts, recent: parts.violations, notStored: losses.notStored },
    unwatched: losses.unwatched,
    operations: parts.operations,
    rollbacks: stored.rollbacks,
    nodes: stored.nodes,
    channels: stored.channels,
  }
}

interface Stored {
  readonly isFresh: boolean
  readonly rollbacks: DashboardData['rollbacks']
  readonly nodes: DashboardData['nodes']
  readonly channels: DashboardData['channels']
}

async function readStored(parts: DashboardParts, missing: number): Promise<Stored> {
  const { options, rates } = parts
  const monotonic = options.clock.monotonic()
  const busiest = rates.busiest(options.gauges().channels, monotonic)
  if (parts.settings.level === 'off') {
    return { isFresh: true, rollbacks: { told: 0, untold: 0, recent: [] }, nodes: [], channels: [] }
  }
  try {
    return {
      isFresh: true,
      rollbacks: await readRecentRollbacks(parts, missing),
      nodes: await readLiveNodes(parts),
      channels: await withHeads(parts, busiest, monotonic),
    }
  } catch {
    return {
      isFresh: false,
      rollbacks: { told: 0, untold: missing, recent: [] },
      nodes: [],
      channels: busiest.map((channel) => ({ ...channel, head: 0, lagMs: 0 })),
    }
  }
}

async function readRecentRollbacks(
  { options, settings, window, nowMs }: DashboardParts,
  missing: number,
): Promise<DashboardData['rollbacks']> {
  const { own, schema } = options
  const sinceMs = Math.max(firstMinute(nowMs, window) * 60_000, nowMs - settings.noticeReachMs)
  const { rows } = await own.query<RollbackRow>(readRollbacks(schema, sinceMs, mostRollbacks))
  const counted = await own.query<{ count: number }>(countRollbacks(schema, sinceMs))
  const all = counted.rows[0]?.count ?? 0
  // Take the watcher's count for rollbacks that were not read here.
  const isWhole = all <= rows.length
  const untold = isWhole ? rows.filter((row) => !row.told).length : Math.min(missing, all)
  return {
    told: all - untold,
    untold,
    recent: rows.map((row) => ({
      id: row.id,
      name: row.name,
      user: row.user_id,
      at: isoOf(row.settled_ms),
      told: row.told,
      userMessage: row.notice.userMessage ?? null,
    })),
  }
}

async function readLiveNodes(parts: DashboardParts): Promise<DashboardNode[]> {
  const { options, history, window, nowMs } = parts
  const { rows } = await options.own.query<NodeRow>(readNodes(options.schema, mostNodes))
  const own = options.node()
  const { connections, openOperations, bus } = options.gauges()
  return rows.map((row) => {
    const isThis = row.node === own
    const standing = history.node(row.node, window, nowMs)
    const gauges = isThis ? { connections, openOperations, bus } : standing?.gauges
    return {
      node: row.node,
      isThis,
      live: row.lease_ms !== null && row.lease_ms >= 0,
      leaseMs: row.lease_ms === null ? null : Math.round(row.lease_ms),
      startedAt: isoOf(row.started_ms),
      connections: gauges?.connections ?? null,
      openOperations: gauges?.openOperations ?? null,
      bus: gauges?.bus ?? null,
      score: standing?.score ?? null,
      operations: standing?.operations ?? 0,
    }
  })
}

async function withHeads(
  { options, rates }: DashboardParts,
  busiest: ReturnType<ChannelRates['busiest']>,
  atMs: number,
): Promise<DashboardChannel[]> {
  if (busiest.length === 0) return []
  const offsets = new Map([...options.gauges().channels].map(({ channel, offset }) => [channel, offset]))
  const { rows } = await options.own.query(
    readHeads(
      options.schema,
      busiest.map(({ channel }) => channel),
    ),
  )
  const { heads } = toHeads(rows)
  return busiest.map((channel) => {
    const head = heads.get(channel.channel) ?? 0
    const isBehind = (offsets.get(channel.channel) ?? 0) < head
    return { ...channel, head, lagMs: rates.lag(channel.channel, { isBehind, atMs }) }
  })
}

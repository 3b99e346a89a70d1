// Made-up data of every panel, for what the page does with it; the live test shows real ones.
import type { Layer } from '../../src/core/index.ts'
import type {
  DashboardData,
  DashboardLayer,
  DashboardOperation,
  GapFigures,
  Gaps,
  HistoryPoint,
  Violation,
} from '../../src/monitor/index.ts'
import { defaultThresholds, gapKinds, violationKinds, type GapKind } from '../../src/monitor/model/kinds.ts'

const now = Date.parse('2026-03-14T09:26:53.000Z')

const ago = (ms: number): string => new Date(now - ms).toISOString()

function figures(kind: GapKind, count: number, p50: number): GapFigures {
  const thresholdMs = defaultThresholds[kind]
  if (count === 0) {
    return { count, average: 0, p50: 0, p99: 0, max: 0, min: 0, early: 0, over: 0, thresholdMs }
  }
  return {
    count,
    average: p50 * 1.3,
    p50,
    p99: p50 * 6,
    max: p50 * 9,
    min: 0.2,
    early: 0,
    over: 0,
    thresholdMs,
  }
}

const middle: Readonly<Partial<Record<GapKind, number>>> = {
  websocket_db_gap: 1.8,
  node_bus_gap: 6.2,
  client_ack_gap: 14,
  rollback_notice_gap: 3.1,
}

const everyKind = <T>(value: (kind: GapKind) => T): Record<GapKind, T> =>
  Object.fromEntries(gapKinds.map((kind) => [kind, value(kind)])) as Record<GapKind, T>

function history(minutes: number): HistoryPoint[] {
  const points = 90
  const stepMs = (minutes * 60_000) / points
  return Array.from({ length: points }, (_, index): HistoryPoint => {
    const wave = 1 + 0.4 * Math.sin(index / 5)
    const isBad = index >= 40 && index < 46
    return {
      at: ago(minutes * 60_000 - index * stepMs),
      score: index < 6 ? null : isBad ? 0.76 : 1 - 0.01 * (index % 3),
      operations: 40,
      unhealthy: isBad ? 10 : index % 3,
      gaps: Object.fromEntries(
        Object.entries(middle).map(([kind, p50]) => [
          kind,
          { count: 40, p50: p50 * wave, p99: p50 * wave * (isBad ? 90 : 5), max: p50 * 9 },
        ]),
      ),
    }
  }).slice(6)
}

function layers(index: number): DashboardLayer[] {
  const reached = (layer: Layer, gapMs: number): DashboardLayer => ({
    layer,
    gapMs,
    ...(layer === 'notice' ? { channel: 'user:ada' } : { channel: 'conversation:lobby' }),
    ...(layer === 'client' ? { errorMs: 2.1 } : {}),
  })
  if (index % 6 === 3) return [reached('notice', 2.4), reached('client', 11)]
  return [
    reached('websocket', 1.1 + (index % 4)),
    reached('bus', 5 + index),
    reached('client', 12 + 3 * index),
  ]
}

export const uuid = (index: number): string => `01890a5d-ac96-774b-bcce-${String(index).padStart(12, '0')}`

export function operation(index: number, change: Partial<DashboardOperation> = {}): DashboardOperation {
  return {
    id: uuid(index),
    name: ['send_message', 'create_conversation', 'mark_read'][index % 3] ?? 'send_message',
    user: ['ada', 'grace'][index % 2] ?? 'ada',
    node: 'node-a',
    mode: 'enforce',
    outcome: index % 6 === 3 ? 'rolled_back' : 'committed',
    endedAt: ago(index * 700),
    durationMs: 3 + 7 * (index % 5),
    layers: layers(index),
    kept: true,
    ...change,
  }
}

export function earlyOperation(index: number): DashboardOperation {
  return operation(index, {
    name: 'send_message',
    mode: 'observe',
    outcome: 'committed',
    durationMs: 512,
    kept: false,
    layers: [
      { layer: 'websocket', channel: 'conversation:lobby', gapMs: -498.2 },
      { layer: 'client', channel: 'conversation:lobby', gapMs: -486, errorMs: 2 },
    ],
  })
}

export const earlyViolation: Violation = {
  kind: 'websocket_before_commit',
  operationId: uuid(2),
  operation: 'send_message',
  layers: ['websocket'],
  at: now - 1_400,
  node: 'node-a',
  gapMs: -498.2,
  detail: 'An event of this operation was written to a socket 498.2 ms before its transaction had committed.',
  stack:
    'Error\n    at sendMessage (file:///srv/app/operations.ts:41:8)\n    at run (file:///srv/app/chat.ts:12:3)',
}

const untold: Violation = {
  kind: 'missing_rollback_notification',
  operationId: uuid(9),
  operation: 'create_conversation',
  layers: ['notice'],
  at: now - 64_000,
  node: 'node-b',
  detail: 'The operation was rolled back 3 s ago and its user has no notice.',
}

/** A system that works, with one event shown too early and one rollback that was not told. */
export function sample(minutes = 60): DashboardData {
  const count = (kind: GapKind): number => (middle[kind] === undefined ? 0 : 3_320)
  const gaps: Gaps = {
    ...everyKind((kind) => figures(kind, count(kind), middle[kind] ?? 0)),
    websocket_db_gap: { ...figures('websocket_db_gap', 3_320, 1.8), min: -498.2, early: 1, over: 2 },
  }
  return {
    at: new Date(now).toISOString(),
    node: 'node-a',
    level: 'full',
    windowMinutes: minutes,
    isFresh: true,
    score: {
      overall: 0.9871,
      operations: 3_320,
      unhealthy: 43,
      kinds: everyKind((kind) => (middle[kind] === undefined ? null : 0.991)),
      alert: 'ok',
      since: ago(2_400_000),
      alertBelow: 0.8,
      recoverAbove: 0.85,
    },
    modes: [
      { operation: 'send_message', mode: 'observe', percentage: 10, otherwise: 'enforce' },
      { operation: 'create_conversation', mode: 'enforce', percentage: 100, otherwise: 'enforce' },
    ],
    history: history(minutes),
    gaps,
    thresholds: defaultThresholds,
    violations: {
      counts: {
        ...none(),
        websocket_before_commit: 1,
        missing_rollback_notification: 1,
      },
      recent: [earlyViolation, untold],
      notStored: 0,
    },
    unwatched: 0,
    operations: Array.from({ length: 24 }, (_, index) =>
      index === 2 ? earlyOperation(2) : operation(index),
    ),
    rollbacks: {
      told: 41,
      untold: 1,
      recent: [
        {
          id: uuid(9),
          name: 'create_conversation',
          user: 'grace',
          at: ago(64_000),
          told: false,
          userMessage: null,
        },
        {
          id: uuid(3),
          name: 'send_message',
          user: 'ada',
          at: ago(2_100),
          told: true,
          userMessage: 'Your message was not saved.',
        },
        {
          id: uuid(15),
          name: 'send_message',
          user: 'ada',
          at: ago(90_500),
          told: true,
          userMessage: 'Your message was not saved.',
        },
      ],
    },
    nodes: [
      {
        node: 'node-a',
        isThis: true,
        live: true,
        leaseMs: 8_400,
        startedAt: ago(8_000_000),
        connections: 212,
        openOperations: 3,
        bus: 'postgres',
        score: 0.988,
        operations: 1_920,
      },
      {
        node: 'node-b',
        isThis: false,
        live: false,
        leaseMs: -41_000,
        startedAt: ago(7_900_000),
        connections: null,
        openOperations: null,
        bus: null,
        score: 0.981,
        operations: 1_400,
      },
      {
        node: 'node-c',
        isThis: false,
        live: false,
        leaseMs: null,
        startedAt: ago(9_000_000),
        connections: null,
        openOperations: null,
        bus: null,
        score: null,
        operations: 0,
      },
    ],
    channels: [
      { channel: 'conversation:lobby', subscribers: 190, perSecond: 12.4, head: 48_211, lagMs: 0 },
      { channel: 'conversation:reading-group', subscribers: 14, perSecond: 0.6, head: 902, lagMs: 340 },
      { channel: 'user:ada', subscribers: 2, perSecond: 0.02, head: 61, lagMs: 0 },
    ],
  }
}

const none = (): DashboardData['violations']['counts'] =>
  Object.fromEntries(
    violationKinds.map((kind) => [kind, 0]),
  ) as unknown as DashboardData['violations']['counts']

/** A node that has just begun. */
export function emptySample(): DashboardData {
  const full = sample()
  return {
    ...full,
    score: {
      ...full.score,
      overall: 1,
      operations: 0,
      unhealthy: 0,
      since: null,
      kinds: everyKind(() => null),
    },
    history: [],
    gaps: everyKind((kind) => figures(kind, 0, 0)),
    violations: { counts: none(), recent: [], notStored: 0 },
    operations: [],
    rollbacks: { told: 0, untold: 0, recent: [] },
    modes: [],
    nodes: full.nodes.slice(0, 1),
    channels: [],
  }
}

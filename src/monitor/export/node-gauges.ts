import type { GapKind } from '../model/kinds.ts'

/**
 * Gauges that the exports ask for when they are read. A gauge may be absent, and may answer `undefined` while its value is
 * not known; a gauge that throws counts as not known.
 */
export interface NodeGauges {
  score?(): number | undefined
  scoreKinds?(): Readonly<Partial<Record<GapKind, number | null>>>
  connections?(): number | undefined
  openOperations?(): number | undefined
  channels?(): number | undefined
  isLeaseHeld?(): boolean | undefined
  isBusUp?(): boolean | undefined
  /** Bytes that wait for peers that do not read. */
  outboundBytes?(): number | undefined
  /** Clients that were turned away since the node started, by reason. */
  refusals?(): Readonly<Record<string, number>>
}

/** A gauge that is one number, under the name it has in Prometheus; OpenTelemetry has dots for the underscores. */
export interface NodeGauge {
  readonly name: string
  readonly help: string
  readonly unit: string
  readonly read: (gauges: NodeGauges) => number | boolean | undefined
}

export const nodeGauges: readonly NodeGauge[] = [
  {
    name: 'lockstep_score',
    help: 'Share of the operations of the cluster in the window whose every layer kept its threshold, 0 to 1.',
    unit: '1',
    read: (gauges) => gauges.score?.(),
  },
  {
    name: 'lockstep_connections',
    help: 'Open WebSocket connections of this node.',
    unit: '{connection}',
    read: (gauges) => gauges.connections?.(),
  },
  {
    name: 'lockstep_open_operations',
    help: 'Operations of this node without an outcome yet.',
    unit: '{operation}',
    read: (gauges) => gauges.openOperations?.(),
  },
  {
    name: 'lockstep_channels',
    help: 'Channels with a subscriber on this node.',
    unit: '{channel}',
    read: (gauges) => gauges.channels?.(),
  },
  {
    name: 'lockstep_lease_held',
    help: '1 while this node holds its lease and takes operations, 0 otherwise.',
    unit: '1',
    read: (gauges) => gauges.isLeaseHeld?.(),
  },
  {
    name: 'lockstep_bus_up',
    help: '1 while events of other nodes come by the bus, 0 while they come by the comparison of heads.',
    unit: '1',
    read: (gauges) => gauges.isBusUp?.(),
  },
  {
    name: 'lockstep_outbound_bytes',
    help: 'Bytes that wait for connections of this node that do not read.',
    unit: 'By',
    read: (gauges) => gauges.outboundBytes?.(),
  },
]

/** The gauge as a number, or undefined where it is not known. Never throws. */
export function readGauge(gauge: NodeGauge, gauges: NodeGauges): number | undefined {
  try {
    const value = gauge.read(gauges)
    return value === undefined || Number.isNaN(value) ? undefined : Number(value)
  } catch {
    return undefined
  }
}

/** The score of each kind that has one. Never throws. */
export function readScoreKinds(gauges: NodeGauges): readonly (readonly [string, number])[] {
  try {
    return Object.entries(gauges.scoreKinds?.() ?? {}).flatMap(([kind, score]) =>
      typeof score === 'number' && !Number.isNaN(score) ? [[kind, score] as const] : [],
    )
  } catch {
    return []
  }
}

/** Clients that were turned away, by reason. Never throws. */
export function readRefusals(gauges: NodeGauges): readonly (readonly [string, number])[] {
  try {
    return Object.entries(gauges.refusals?.() ?? {})
  } catch {
    return []
  }
}

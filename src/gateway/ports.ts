import type { EventSource } from '../events/subscription.ts'
import type { Logger, Probe, UserContext } from '../core/index.ts'
import type { Authorize } from './admission.ts'

/** Who a token speaks for, and until when. */
export interface Identity {
  readonly user: UserContext
  /** Milliseconds since the epoch; absent when the token does not expire. */
  readonly expiresAt?: number
}

export interface RpcRequest {
  readonly data: unknown
  readonly user: UserContext
  /** Aborts when the connection that asked is gone. An operation goes on regardless; a query may stop. */
  readonly signal: AbortSignal
}

/** Answers one RPC method. What it returns becomes the reply's `data`; a `LockstepError` becomes an error reply. */
export type RpcHandler = (request: RpcRequest) => Promise<unknown>

/** How a node is, in a word. */
export type NodeStatus = 'ok' | 'degraded' | 'stopping'

/** What `/lockstep/dashboard` needs. */
export interface DashboardPort {
  /** Who may see it. Without it nobody may. */
  readonly authorize?: Authorize
  /** What `GET /lockstep/dashboard/data?minutes=60` answers, as JSON. */
  data(minutes: number): Promise<unknown>
  /** The built page: `index.html` and `assets/`. Default: where the build puts it. */
  readonly folder?: URL
}

/** What the gateway needs of the rooms below, wired by `createLockstep`. */
export interface GatewayPorts {
  /** @throws LS_UNAUTHENTICATED, LS_USER_ID_INVALID */
  authenticate(token: string): Promise<Identity>
  /** @throws LS_CHANNEL_UNKNOWN, LS_CHANNEL_FORBIDDEN, LS_CHANNEL_NAME_INVALID */
  authorizeSubscription(user: UserContext, channel: string): Promise<void>
  readonly events: EventSource
  /** By method name. */
  rpc(method: string): RpcHandler | undefined
  /** Whether the node takes operations: what `GET /lockstep/health` answers to everybody. */
  status(): NodeStatus | Promise<NodeStatus>
  /** What it answers to whom `authorizeHealth` lets in. */
  health(): Promise<{ readonly status: NodeStatus } & Readonly<Record<string, unknown>>>
  /** What `GET /lockstep/metrics` answers. Absent: 404. */
  metrics?(): Promise<{ readonly contentType: string; readonly body: string }>
  /** Who may read more of the health than the status. Absent: nobody. */
  readonly authorizeHealth?: Authorize
  /** Who may read the metrics. Absent: nobody. */
  readonly authorizeMetrics?: Authorize
  /** Absent: closed. */
  readonly dashboard?: DashboardPort
  /** Hears what leaves the sockets. */
  readonly probe?: Probe
  readonly logger: Logger
}

import type { EventSource } from '../../feeds/index.ts'
import type { Logger, Probe, UserContext } from '../../core/index.ts'
import type { Credentials, Identity } from '../../auth/index.ts'

/** Decides who may see what is for operators. Anything but `true` is a no. */
export type Authorize = (request: Request) => boolean | Promise<boolean>

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

/** Needs of `/lockstep/dashboard`. */
export interface DashboardPort {
  /** Callers who may see it. Absent: nobody. */
  readonly authorize?: Authorize
  /** Answer of `GET /lockstep/dashboard/data?minutes=60`, as JSON. */
  data(minutes: number): Promise<unknown>
  /** The built page: `index.html` and `assets/`. Default: where the build puts it. */
  readonly folder?: URL
}

/** Functions of the rooms below that the gateway calls, wired by `createLockstep`. */
export interface GatewayPorts {
  /** @throws LS_UNAUTHENTICATED, LS_USER_ID_INVALID */
  authenticate(credentials: Credentials): Promise<Identity>
  /** Keeps the request of each upgrade for `authenticate`. Default `false`: tokens alone are looked at. */
  readonly seesRequest?: boolean
  /** @throws LS_CHANNEL_UNKNOWN, LS_CHANNEL_FORBIDDEN, LS_CHANNEL_NAME_INVALID */
  authorizeSubscription(user: UserContext, channel: string): Promise<void>
  readonly events: EventSource
  /** Finds a handler by the name of the method. */
  rpc(method: string): RpcHandler | undefined
  /** The declared method that an unknown one was most likely meant to be, where clients may be told. */
  nearestMethod?(method: string): string | undefined
  /** Whether the node takes operations: what `GET /lockstep/health` answers to everybody. */
  status(): NodeStatus | Promise<NodeStatus>
  /** Answer for callers whom `authorizeHealth` lets in. */
  health(): Promise<{ readonly status: NodeStatus } & Readonly<Record<string, unknown>>>
  /** Answer of `GET /lockstep/metrics`. Absent: 404. */
  metrics?(): Promise<{ readonly contentType: string; readonly body: string }>
  /** Callers who may read more of the health than the status. Absent: nobody. */
  readonly authorizeHealth?: Authorize
  /** Callers who may read the metrics. Absent: nobody. */
  readonly authorizeMetrics?: Authorize
  /** Port of the dashboard. Absent: closed. */
  readonly dashboard?: DashboardPort
  /** Hears what leaves the sockets. */
  readonly probe?: Probe
  readonly logger: Logger
}

import type { Bus, BusHealth } from './bus/index.ts'
import type {
  Channel,
  ChannelDefinition,
  Clock,
  Database,
  DatabaseTrouble,
  Logger,
  UserContext,
} from './core/index.ts'
import type { Authorize, GatewayLimits, Identity, TokenAuthenticatorOptions } from './gateway/index.ts'
import type { AlertOptions, HealthSummary, MonitorLevel, Thresholds } from './health/index.ts'
import type {
  HistoryChange,
  OnBegin,
  RollbackOptions,
  RolloutOptions,
  Transaction,
} from './transaction/index.ts'

/** What `createLockstep` takes. */
export interface LockstepOptions<Db> {
  readonly database: Database<Db>
  readonly channels?: readonly ChannelDefinition[]
  /** How tokens are checked: a shared secret, a public key, a JWKS, or your own function. */
  readonly auth?: TokenAuthenticatorOptions | ((token: string) => Promise<Identity>)
  /**
   * Runs first in every transaction of your code: of each operation, each attempt at it, each query, and each check
   * (`canSubscribe`, `authorize`), which then reads in a transaction of its own. For `set_config('app.tenant', …, true)`
   * and `set local role` under row level security. What it throws ends the transaction.
   */
  readonly onBegin?: OnBegin<Db>
  readonly logger?: Logger
  readonly clock?: Clock
  readonly gateway?: {
    /** Default `/lockstep/ws`. */
    readonly path?: string
    /** Exact origins of the pages that may connect. Default: the host the page came from. */
    readonly allowedOrigins?: readonly string[]
    readonly limits?: Partial<GatewayLimits>
    readonly pingIntervalMs?: number
    readonly pongTimeoutMs?: number
    /** Proxies before this server that set `X-Forwarded-For`, for limits by address. Default `false`: none. */
    readonly trustProxy?: false | number
    /** How often `canSubscribe` is asked again for each live subscription. Default 0: only `revoke` ends one. */
    readonly reauthorizeMs?: number
  }
  /** How long events are kept for those who come back, in milliseconds. Default 24 hours. */
  readonly eventRetentionMs?: number
  /** How long outcomes are kept for repeated calls, in milliseconds. Default 7 days. */
  readonly operationRetentionMs?: number
  /** How long a node lives without renewing its lease, in milliseconds. Default 3,000. */
  readonly leaseMs?: number
  /** How often the channels served here are compared with the database, in milliseconds. Default 1,000. */
  readonly headCheckMs?: number
  /**
   * How long events may stay unread, because the log cannot be read, before health says `degraded` and the subscribers
   * that wait for them are told, in milliseconds. Default 10,000.
   */
  readonly unreadableAfterMs?: number
  /**
   * Carries events between nodes: `postgresBus`, `redisBus`, `natsBus`, `memoryBus`, one for each instance. Default:
   * `postgresBus` on the database given, where several nodes can share it. `false`: none, and events of other nodes
   * come by `headCheckMs`.
   */
  readonly bus?: Bus | false
  /** How much may be open at once, and how long it may wait for a connection of the pool. */
  readonly admission?: AdmissionLimits
  /** In which mode operations run, from the start; `lockstep.rollout.set` changes it at run time. */
  readonly rollout?: RolloutOptions
  /** How far the layers drift from the commit: what is measured, and who is alarmed. */
  readonly monitor?: MonitorOptions
  /** Who may read all of `/lockstep/health`. Absent: nobody, and everybody its status. */
  readonly health?: { readonly authorize: Authorize }
  /** Who may read `/lockstep/metrics`. Absent: nobody. */
  readonly metrics?: { readonly authorize: Authorize }
  /** Who may see `/lockstep/dashboard`, and its data. Absent: nobody. */
  readonly dashboard?: { readonly authorize: Authorize }
}

/**
 * What `createLockstep` takes as `admission`. What is beyond it is refused with LS_NODE_OVERLOADED, has no effect, and may be
 * sent again.
 */
export interface AdmissionLimits {
  /** Operations, queries and checks that are open on this node at once. Default 10,000. */
  readonly maxOpen?: number
  /** Those of one user. Less while the node has less than that to spare. Default 1,000. */
  readonly maxOpenPerUser?: number
  /** Longest wait for a connection of the pool, in milliseconds. Default 5,000. */
  readonly maxWaitMs?: number
}

/** What `createLockstep` takes as `monitor`. */
export interface MonitorOptions {
  /**
   * `off`: nothing is measured. `counters`: outcomes, and what the log says of untold rollbacks. `sampled`: gaps of a
   * share of the operations. `full`: of all. Default `full`.
   */
  readonly level?: MonitorLevel
  /** Share of the operations that `sampled` measures, 0 to 1. Default 1/16. */
  readonly sampleRate?: number
  /** In milliseconds. */
  readonly thresholds?: Partial<Thresholds>
  /** What the score looks back on. Default 60. */
  readonly windowMinutes?: number
  /** How often a node writes what it measured to the database, in milliseconds. Default 10,000. */
  readonly rollupMs?: number
  /** Below this score an alert is told. Default 0.8. */
  readonly alertBelow?: number
  /** Above this score it is taken back. Default 0.85. */
  readonly recoverAbove?: number
  /** Who is told, besides the log. */
  readonly alerts?: AlertOptions
}

/** What `lockstep.transaction` takes. */
export interface TransactionOptions {
  /** 1 to 200 characters. Names that begin with `lockstep.` are Lockstep's own. */
  readonly name: string
  /** Whose operation it is, and who is told of a rollback; `serverUser` for what no person asked for. */
  readonly user: UserContext | string
  /** UUID; the idempotency key. A new one when absent. */
  readonly id?: string
  /** The id may have been used before: while the database is away, no answer is then given from memory. */
  readonly repeat?: boolean
  readonly rollback?: RollbackOptions
  /** See `OperationOptions.intent`. */
  readonly intent?: boolean
  /** See `OperationOptions.timeoutMs`. */
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
}

/** An event of `executeCoordinatedOperation`. */
export interface CoordinatedEvent {
  readonly channel: Channel
  readonly type: string
  readonly data: unknown
}

/** What `executeCoordinatedOperation` takes. */
export interface CoordinatedOperation<Db, Result> {
  readonly operationName: string
  /** Who is told of a rollback. Default `serverUser`, whose notices only the log shows. */
  readonly user?: UserContext | string
  readonly operationId?: string
  readonly rollback?: RollbackOptions
  readonly databaseOperation: (tx: Transaction<Db>) => Promise<Result>
  /** Leave after the commit, in this order. */
  readonly websocketEvents?: readonly CoordinatedEvent[] | ((result: Result) => readonly CoordinatedEvent[])
  /** Run inside the transaction, after the database operation. */
  readonly agentStateUpdates?: readonly ((tx: Transaction<Db>) => Promise<void>)[]
}

/** How a node is, with what was measured in the cluster within the monitor's window. */
export interface LockstepHealth extends NodeHealth, HealthSummary {
  readonly [field: string]: unknown
}

/** How a node is. */
export interface NodeHealth {
  readonly [field: string]: unknown
  readonly status: 'ok' | 'degraded' | 'stopping'
  readonly node: string
  readonly lease: string
  readonly database: 'postgres' | 'pglite'
  /** What the database said of its own state within the last 5 s (read-only, out of disk, shut down), or `null`. */
  readonly databaseTrouble: DatabaseTrouble | null
  /** How long events could not be read from the log by now, once that is longer than `unreadableAfterMs`; or `null`. */
  readonly logUnreadableMs: number | null
  readonly openOperations: number
  /** The operation that has been open longest, or `null`. */
  readonly oldestOperation: { readonly name: string; readonly openMs: number } | null
  readonly channels: number
  readonly connections: number
  /** How events of other nodes come here. While it is down they come by the comparison of heads. */
  readonly bus: BusHealth
  /** Names the history of the database that this node serves. Nodes of one cluster name the same. */
  readonly epoch: string
  /** The last time that another history took the place of the one before: a failover, or a restored backup. */
  readonly historyChange?: HistoryChange
}

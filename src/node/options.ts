import type { Bus, BusHealth } from '../bus/index.ts'
import type { Caller, Clock, Database, DatabaseTrouble, Logger, UserContext } from '../core/index.ts'
import type { Authorize, GatewayLimits } from '../gateway/index.ts'
import type { AuthQuestion, Identity, TokenAuthenticatorOptions } from '../auth/index.ts'
import type { AlertOptions, HealthSummary, MonitorLevel, Thresholds } from '../monitor/index.ts'
import type { HistoryChange } from '../cluster/index.ts'
import type { OnBegin, RollbackOptions } from '../transaction/index.ts'
import type { RolloutOptions } from '../rollout/index.ts'

/** Options of `createLockstep`. */
export interface LockstepOptions<Db, User extends UserContext = UserContext> {
  readonly database: Database<Db>
  /**
   * How connections are known: tokens by a shared secret, a public key or a JWKS, or your own function of the token and the
   * request that opened the connection. The `user` that it answers with is the `user` that all of your code gets, with its
   * type. `undefined`, or what it throws, refuses the connection.
   */
  readonly auth?:
    TokenAuthenticatorOptions | ((question: AuthQuestion) => Promise<Identity<User> | undefined>)
  /**
   * Runs first in every transaction of your code: of each operation, each attempt at it, each query, and each check
   * (`canSubscribe`, `authorize`), which then reads in a transaction of its own. For `set_config('app.tenant', …, true)`
   * and `set local role` under row level security. What it throws ends the transaction.
   */
  readonly onBegin?: OnBegin<Db, User>
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
   * that wait for them are notified, in milliseconds. Default 10,000.
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
  /** Mode that operations run in from the start; `lockstep.rollout.set` changes it at run time. */
  readonly rollout?: RolloutOptions
  /** Runs of tasks on this node. */
  readonly runs?: RunOptions
  /** How far the layers drift from the commit: what is measured, and who is alerted. */
  readonly monitor?: MonitorOptions
  /** Callers who may read all of `/lockstep/health`. Absent: nobody; its status is open to everybody. */
  readonly health?: { readonly authorize: Authorize }
  /** Callers who may read `/lockstep/metrics`. Absent: nobody. */
  readonly metrics?: { readonly authorize: Authorize }
  /** Callers who may see `/lockstep/dashboard` and its data. Absent: nobody. */
  readonly dashboard?: { readonly authorize: Authorize }
}

/**
 * Option `admission` of `createLockstep`. A call beyond these limits is refused with LS_NODE_OVERLOADED, has no effect,
 * and may be sent again.
 */
export interface AdmissionLimits {
  /** Operations, queries and checks that are open on this node at once. Default 10,000. */
  readonly maxOpen?: number
  /** Calls of one user open at once; fewer while the node has less than that to spare. Default 1,000. */
  readonly maxOpenPerUser?: number
  /** Longest wait for a connection of the pool, in milliseconds. Default 5,000. */
  readonly maxWaitMs?: number
}

/** Option `runs` of `createLockstep`. */
export interface RunOptions {
  /** Runs that this node has at once. 0: it starts runs and leaves them to other nodes. Default 100. */
  readonly concurrency?: number
}

/** Option `monitor` of `createLockstep`. */
export interface MonitorOptions {
  /**
   * `off`: nothing is measured. `counters`: outcomes, and rollbacks without a notice in the log. `sampled`: gaps of a
   * share of the operations. `full`: of all. Default `full`.
   */
  readonly level?: MonitorLevel
  /** Share of the operations that `sampled` measures, 0 to 1. Default 1/16. */
  readonly sampleRate?: number
  /** Thresholds in milliseconds. */
  readonly thresholds?: Partial<Thresholds>
  /** Minutes that the score looks back on. Default 60. */
  readonly windowMinutes?: number
  /** How often a node writes what it measured to the database, in milliseconds. Default 10,000. */
  readonly rollupMs?: number
  /** Score below which an alert fires. Default 0.8. */
  readonly alertBelow?: number
  /** Score above which the alert has recovered. Default 0.85. */
  readonly recoverAbove?: number
  /** Receivers of alerts, besides the log. */
  readonly alerts?: AlertOptions
}

/** Options of `lockstep.transaction`. */
export interface TransactionOptions<User extends UserContext = UserContext> {
  /** 1 to 200 characters. Names that begin with `lockstep.` are Lockstep's own. */
  readonly name: string
  /** User of the operation, who is notified of a rollback; `serverUser` for work that no person asked for. */
  readonly user: Caller<User>
  /** UUID; the idempotency key. A new one when absent. With one the result may be that of an earlier call, as JSON has it. */
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
  /**
   * Last state that the database reported within 5 s (read-only, out of disk, shut down, tables gone), or that it was
   * closed; else `null`.
   */
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

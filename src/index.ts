/** The server's door: everything an application imports from `lockstep`. */
export { createLockstep, type Lockstep } from './lockstep.ts'
export type {
  CoordinatedEvent,
  CoordinatedOperation,
  LockstepHealth,
  LockstepOptions,
  TransactionOptions,
} from './options.ts'
export {
  memoryBus,
  natsBus,
  postgresBus,
  redisBus,
  type Bus,
  type BusHealth,
  type BusOptions,
  type BusPort,
  type ChannelHead,
  type IoRedisClient,
  type NatsConnectionLike,
  type NatsStatuses,
  type NodeRedisClient,
  type RedisBusOptions,
} from './bus/index.ts'
export {
  defineChannel,
  errorCatalogue,
  isLockstepError,
  jsonLogger,
  LockstepError,
  newOperationId,
  silentLogger,
  type Channel,
  type ChannelDefinition,
  type ChannelOptions,
  type Clock,
  type Database,
  type DatabaseSession,
  type ErrorCode,
  type Logger,
  type SqlClient,
  type SqlResult,
  type UserContext,
} from './core/index.ts'
export {
  fromPglite,
  fromPool,
  openPglite,
  type FromPgliteOptions,
  type FromPoolOptions,
  type OpenedPglite,
  type PgDatabase,
  type PgliteLike,
} from './postgres/index.ts'
export {
  signToken,
  type GatewayLimits,
  type Identity,
  type NodeHandler,
  type Revocation,
  type TokenAuthenticatorOptions,
} from './gateway/index.ts'
export type {
  AppOf,
  AuthorizeQuestion,
  CallOptions,
  Operation,
  OperationContext,
  OperationOptions,
  Query,
  QueryContext,
  QueryOptions,
  RollbackOptions,
  Transaction,
} from './transaction/index.ts'
export type { Committed, Notice, Outcome, Positions, RolledBack, StreamPosition } from './protocol/index.ts'

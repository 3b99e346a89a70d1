/** The server's door: everything an application imports from `lockstep`. */
export {
  createLockstep,
  type CoordinatedEvent,
  type CoordinatedOperation,
  type Lockstep,
  type LockstepHealth,
  type LockstepOptions,
  type TransactionOptions,
} from './lockstep.ts'
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

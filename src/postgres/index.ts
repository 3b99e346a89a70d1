/**
 * Room `postgres`: the only one that knows Lockstep's SQL. It knows tables, drivers and SQLSTATE; it refuses to
 * know why a statement is sent.
 */
export { toAscii } from './ascii.ts'
export { fromPool, type FromPoolOptions, type PgDatabase } from './from-pool.ts'
export { fromPglite, type FromPgliteOptions, type PgliteLike } from './from-pglite.ts'
export { openPglite, type OpenedPglite } from './open-pglite.ts'
export * from './queries/channels.ts'
export * from './queries/events.ts'
export * from './queries/health.ts'
export * from './queries/history.ts'
export * from './queries/intents.ts'
export * from './queries/nodes.ts'
export * from './queries/operations.ts'
export * from './queries/rollouts.ts'
export { databaseErrorCode, thrownErrorCode, toLockstepError } from './sqlstate.ts'

import { aFlag, aFunction, aNumber, aText, type Shape } from '../core/index.ts'

/** Options of the driver for `pg`. */
export interface FromPoolOptions {
  /** Schema of Lockstep's tables. Default `lockstep`. */
  readonly schema?: string
  /** Connections for Lockstep's own statements, beside the pool's and the one of the node's lease. Default 3. */
  readonly ownConnections?: number
  /** How long to wait for a connection of the pool, in milliseconds. Default 5,000. */
  readonly acquireTimeoutMs?: number
  /**
   * How long one statement of Lockstep's own may take, BEGIN, COMMIT and ROLLBACK included, before its connection
   * is given up, in milliseconds. Default 10,000. Your statements are yours to bound (`statement_timeout`).
   */
  readonly statementTimeoutMs?: number
  /**
   * Whether Lockstep's own hot statements are prepared once for each connection. Default `true`; a pooler that
   * cannot have that is noticed, and the names are left out from then on.
   */
  readonly preparedStatements?: boolean
  /** Called when a connection breaks while nobody uses it. */
  readonly onConnectionError?: (error: Error) => void
}

export const fromPoolShape: Shape<FromPoolOptions> = {
  schema: aText,
  ownConnections: aNumber,
  acquireTimeoutMs: aNumber,
  statementTimeoutMs: aNumber,
  preparedStatements: aFlag,
  onConnectionError: aFunction,
}

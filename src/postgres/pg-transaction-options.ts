import type { Isolation, Queryable } from '../core/index.ts'
import type { SendOptions } from './pg-statements.ts'
import type { RoleRestore } from './role-restore.ts'

/** Options that all transactions of one pool share. */
export interface PgPoolOptions extends SendOptions {
  readonly own: Queryable
  readonly roles: RoleRestore
}

export interface PgTransactionOptions {
  readonly pool: PgPoolOptions
  readonly operationId: string
  readonly isolation: Isolation | undefined
  /** Epoch of the history on the connection. */
  readonly epoch: string | undefined
}

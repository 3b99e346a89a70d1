import type { Pool } from 'pg'
import { TimeLimit } from '../core/index.ts'
import { OwnPool } from './own-pool.ts'
import type { SendOptions } from './pg-statements.ts'

/** A lease lives for 3 s by default: a connection that has broken in silence is given up within that time. */
const longestLeaseStatementMs = 3_000

/**
 * Pool with one connection, for the lease. It opens a second one while the first does not answer, because a connection
 * can break in silence, and closes it again once it is not needed.
 */
export function createLeasePool(
  pool: Pool,
  { acquireTimeoutMs, limit, ...sending }: SendOptions & { readonly acquireTimeoutMs: number },
): OwnPool {
  return new OwnPool(pool, {
    ...sending,
    limit: new TimeLimit(Math.min(limit.ms, longestLeaseStatementMs)),
    config: {
      max: 2,
      connectionTimeoutMillis: Math.min(acquireTimeoutMs, longestLeaseStatementMs),
      idleTimeoutMillis: 10_000,
      application_name: 'lockstep lease',
    },
  })
}

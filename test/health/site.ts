import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import pg from 'pg'
import {
  createLockstep,
  fromPool,
  silentLogger,
  type Database,
  type Lockstep,
  type SqlClient,
} from '../../src/index.ts'
import { defineApplication, rollout, secret, tables, type Application } from './application.ts'

export interface Site {
  readonly lockstep: Lockstep<SqlClient>
  readonly application: Application
  /** Address without a path, such as `http://127.0.0.1:4711`. */
  readonly http: string
  readonly pool: pg.Pool
  close(): Promise<void>
}

/** Opens a node with its sockets on a free port. */
export async function openSite(
  databaseUrl: string,
  options: { readonly headCheckMs?: number } = {},
): Promise<Site> {
  const pool = new pg.Pool({ connectionString: databaseUrl, max: 10, pipeline: true })
  const database: Database<SqlClient> = fromPool(pool)
  const lockstep = createLockstep({
    database,
    auth: { secret },
    logger: silentLogger,
    rollout,
    dashboard: { authorize: () => true },
    monitor: { rollupMs: 2_000 },
    // A machine that stalls for seconds is no reason to take its operations from a node.
    leaseMs: 15_000,
    ...options,
  })
  const application = defineApplication(lockstep)
  await pool.query(tables)
  await lockstep.start()
  const server = createServer(lockstep.handler())
  lockstep.attach(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    lockstep,
    application,
    http: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    pool,
    async close() {
      await lockstep.close({ drainMs: 1_000 })
      server.close()
      server.closeAllConnections()
      await pool.end()
    },
  }
}

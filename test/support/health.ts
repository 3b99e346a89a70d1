// A health monitor on a database of its own, with the reports that rooms would make.
import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { createTestLogger } from './world.ts'
import { createTestDatabase } from './database.ts'
import { newOperationId, systemClock, type OperationReport, type LayerReport } from '../../src/core/index.ts'
import { HealthMonitor, type ScoreAlert, type HealthMonitorOptions } from '../../src/monitor/index.ts'
import { fromPool } from '../../src/postgres/index.ts'

/** The machine's own clock, as exact as on one machine, in place of what a lease learns of the database's clock. */
const databaseClock = {
  toDatabaseMs: (monotonicMs: number) => performance.timeOrigin + monotonicMs,
  errorMs: 2,
}

export async function createHealthWorld() {
  const test = await createTestDatabase()
  const pool = new pg.Pool({ connectionString: test.url, max: 6 })
  pool.on('error', () => {})
  const database = fromPool(pool)
  const monitors: HealthMonitor[] = []
  return {
    database,
    url: test.url,
    logger: createTestLogger(),
    async rows<Row = Record<string, unknown>>(text: string, values: readonly unknown[] = []): Promise<Row[]> {
      return (await pool.query(text, [...values])).rows as Row[]
    },
    monitor(options: Partial<HealthMonitorOptions> = {}) {
      const node = randomUUID()
      const alerts: ScoreAlert[] = []
      const monitor = new HealthMonitor({
        own: database.own,
        schema: database.schema,
        clock: systemClock,
        logger: this.logger,
        node: () => node,
        databaseClock,
        gauges: () => ({ connections: 3, openOperations: 1, bus: 'up', channels: [] }),
        alert: (alert) => void alerts.push(alert),
        tickMs: 20,
        rollupMs: 200,
        noticeGraceMs: 50,
        ...options,
      })
      monitors.push(monitor)
      monitor.start()
      return Object.assign(monitor, { node, alerts })
    },
    /** Writes operations as the log would hold them, and their notices. */
    async operations(
      ids: readonly string[],
      {
        state = 'committed',
        name = 'add_note',
        user = 'ada',
        notice = true,
      }: {
        readonly state?: string
        readonly name?: string
        readonly user?: string
        readonly notice?: boolean
      } = {},
    ): Promise<void> {
      await pool.query(
        `insert into lockstep.operations (id, name, user_id, input_hash, state, notice, settled_at)
         select id, $2, $3, 'x', $4, case when $5 and $4 = 'rolled_back' then '{"userMessage":"Not saved."}'::json end,
           case when $4 <> 'started' then clock_timestamp() end
         from unnest($1::uuid[]) as id`,
        [ids, name, user, state, notice],
      )
    },
    async events(channel: string, ids: readonly string[], type = 'note.added'): Promise<number> {
      const { rows } = await pool.query(
        `with head as (
           insert into lockstep.channels as c (channel, head) values ($1, cardinality($2::uuid[]))
           on conflict (channel) do update set head = c.head + excluded.head returning head)
         insert into lockstep.events (channel, "offset", operation_id, type, data, at)
         select $1, head.head - cardinality($2::uuid[]) + place, id, $3, '{}', clock_timestamp()
         from head, unnest($2::uuid[]) with ordinality as i (id, place) returning "offset"`,
        [channel, ids, type],
      )
      return Math.max(...(rows as { offset: string }[]).map(({ offset }) => Number(offset)))
    },
    async close(): Promise<void> {
      await Promise.all(monitors.map((monitor) => monitor.close()))
      await database.close()
      await pool.end()
      await test.drop()
    },
  }
}

export type HealthWorld = Awaited<ReturnType<typeof createHealthWorld>>

export const newIds = (count: number): string[] => Array.from({ length: count }, () => newOperationId())

export function endReport(over: Partial<OperationReport> = {}): OperationReport {
  const endedAt = over.endedAt ?? performance.now()
  return {
    operationId: newOperationId(),
    operation: 'add_note',
    userId: 'ada',
    mode: 'enforce',
    outcome: 'committed',
    beganAt: endedAt - 5,
    endedAt,
    offsets: new Map(),
    isNotified: true,
    ...over,
  }
}

export function layerReport(over: Partial<LayerReport> & { readonly operationId: string }): LayerReport {
  return { layer: 'websocket', at: performance.now(), ...over }
}

// A node of its own process, which starts a run and kills or halts itself at a fault point, or throws there. Its parent configures it by its
// environment.
import pg from 'pg'
import { setFaultHook } from '../../src/core/fault-point.ts'
import { createLockstep, fromPool, silentLogger } from '../../src/index.ts'
import { declareJob } from './job.ts'

const { databaseUrl, point, action, skip, id, throwsFirst, leaseMs } = JSON.parse(
  process.env['RUN_NODE'] ?? '',
) as {
  readonly databaseUrl: string
  readonly point: string
  readonly action: 'kill' | 'stop' | 'throw'
  /** How often the point is passed before. */
  readonly skip: number
  readonly id: string
  readonly throwsFirst: boolean
  readonly leaseMs: number
}
let passed = 0
setFaultHook((name) => {
  if (name !== point || passed++ !== skip) return
  if (action === 'throw') throw new Error(`fault point ${name}`)
  process.kill(process.pid, action === 'kill' ? 'SIGKILL' : 'SIGSTOP')
})
const pool = new pg.Pool({ connectionString: databaseUrl, pipeline: true })
const lockstep = createLockstep({ database: fromPool(pool), bus: false, logger: silentLogger, leaseMs })
const job = declareJob(lockstep, throwsFirst)
await job.start({}, { user: 'ada', id })
await job.ended(id)
await lockstep.close({ drainMs: 500 })
await pool.end()

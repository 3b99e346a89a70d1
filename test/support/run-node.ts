// A node of its own process, which starts a run and kills itself at a fault point. Its parent configures it by its
// environment.
import pg from 'pg'
import { setFaultHook } from '../../src/core/fault-point.ts'
import { createLockstep, fromPool, silentLogger } from '../../src/index.ts'
import { declareJob } from './job.ts'

const { databaseUrl, point, skip, id, throwsFirst } = JSON.parse(process.env['RUN_NODE'] ?? '') as {
  readonly databaseUrl: string
  readonly point: string
  /** How often the point is passed before. */
  readonly skip: number
  readonly id: string
  readonly throwsFirst: boolean
}
let passed = 0
setFaultHook((name) => {
  if (name === point && passed++ === skip) process.kill(process.pid, 'SIGKILL')
})
const pool = new pg.Pool({ connectionString: databaseUrl, pipeline: true })
const lockstep = createLockstep({ database: fromPool(pool), bus: false, logger: silentLogger })
const job = declareJob(lockstep, throwsFirst)
await job.start({}, { user: 'ada', id })
await job.ended(id)

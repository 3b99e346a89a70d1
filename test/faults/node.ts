// One server process of the fault lanes: Lockstep over a pipelined pool, and an HTTP server. Whoever started it says what
// it does by its environment and by lines on its standard input. What it writes is for people; the checker reads none of it.
import { createServer } from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'
import type { AddressInfo } from 'node:net'
import { createInterface } from 'node:readline'
import { writeSync } from 'node:fs'
import pg from 'pg'
import { z } from 'zod'
import { faultPoints, setFaultHook, type FaultPoint } from '../../src/core/fault-point.ts'
import { createLockstep, defineChannel, fromPool, jsonLogger, silentLogger } from '../../src/index.ts'

export type FaultAction = 'kill' | 'throw' | 'stop'

export interface NodeConfig {
  readonly databaseUrl: string
  readonly secret: string
  readonly leaseMs?: number
  readonly headCheckMs?: number
  /** False: what other nodes commit is heard of by the comparison of heads alone. */
  readonly bus?: false
  readonly log?: boolean
}

/** At the `skip`-th time after now that the fault point is passed, the action happens, once. */
export interface Arm {
  readonly point: FaultPoint
  readonly action: FaultAction
  readonly skip?: number
}

export type NodeLine =
  | { readonly ready: number }
  | { readonly armed: FaultPoint }
  /** Written before the action happens. */
  | { readonly reached: FaultPoint }

const config = JSON.parse(process.env['FAULT_NODE'] ?? '') as NodeConfig
// Synchronous: the process may be gone right afterwards.
const say = (line: NodeLine): unknown => writeSync(1, `${JSON.stringify(line)}\n`)

const armed = new Map<FaultPoint, { action: FaultAction; skip: number }>()
const arm = ({ point, action, skip = 0 }: Arm): void => {
  if (faultPoints.includes(point)) armed.set(point, { action, skip })
  say({ armed: point })
}
setFaultHook((name) => {
  const entry = armed.get(name)
  if (entry === undefined || entry.skip-- > 0) return
  armed.delete(name)
  say({ reached: name })
  if (entry.action === 'kill') process.kill(process.pid, 'SIGKILL')
  if (entry.action === 'stop') process.kill(process.pid, 'SIGSTOP')
  if (entry.action === 'throw') throw new Error(`fault point ${name}`)
})

const room = defineChannel('room:{id}', {
  events: { done: z.object({ operation: z.string(), seq: z.number(), user: z.string() }) },
  canSubscribe: () => true,
})

const pool = new pg.Pool({ connectionString: config.databaseUrl, max: 10, pipeline: true })
const lockstep = createLockstep({
  database: fromPool(pool, { acquireTimeoutMs: 2_000 }),
  channels: [room],
  auth: { secret: config.secret },
  logger: config.log === true ? jsonLogger : silentLogger,
  ...(config.leaseMs === undefined ? {} : { leaseMs: config.leaseMs }),
  ...(config.headCheckMs === undefined ? {} : { headCheckMs: config.headCheckMs }),
  ...(config.bus === undefined ? {} : { bus: config.bus }),
})

lockstep.operation('work', {
  input: z.object({
    /** One for each event, in this order. */
    rooms: z.array(z.string()),
    fail: z.enum(['throw', 'constraint', 'deferred']).optional(),
    /** Time between the insert and the end, in the middle of the transaction. */
    holdMs: z.number().optional(),
  }),
  rollback: { userMessage: 'Your work was not saved.', recoveryActions: ['retry'] },
  async run({ input, user, tx, signal }) {
    const operation = tx.operationId
    await tx.db.query('insert into effects (operation_id) values ($1)', [operation])
    input.rooms.forEach((id, seq) => tx.emit(room({ id }), 'done', { operation, seq, user: user.id }))
    if (input.holdMs !== undefined) await pause(input.holdMs, undefined, { signal })
    if (input.fail === 'constraint') await tx.db.query('insert into effects (operation_id) values (null)')
    if (input.fail === 'deferred') {
      await tx.db.query('insert into later_unique (operation_id) values ($1), ($1)', [operation])
    }
    if (input.fail === 'throw') throw new Error('the work failed')
    return { operation, events: input.rooms.length }
  },
})

// The database may be down just now; a server that waits for it is what a deployment would restart anyway.
for (;;) {
  try {
    await lockstep.start()
    break
  } catch {
    await pause(50)
  }
}
const server = createServer((_request, response) => response.end())
lockstep.attach(server)
server.listen(0, '127.0.0.1', () => say({ ready: (server.address() as AddressInfo).port }))

createInterface({ input: process.stdin }).on('line', (line) => arm(JSON.parse(line) as Arm))
// The end of whoever started it is the end of this process, too.
process.stdin.on('end', () => process.exit(3))
process.once('SIGTERM', () => {
  void lockstep.close({ drainMs: 500 }).then(() => process.exit(0))
})

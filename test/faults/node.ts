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
import { createNodeBus, type NodeBusConfig } from './node-bus.ts'
import { internalOwner, markOf, ownerOf, rollbackWords, studies } from './places.ts'

export type FaultAction = 'kill' | 'throw' | 'stop'

export interface NodeConfig {
  readonly databaseUrl: string
  readonly secret: string
  readonly leaseMs?: number
  readonly headCheckMs?: number
  /** Default: over the database. False: what other nodes commit is heard of by the comparison of heads alone. */
  readonly bus?: false | NodeBusConfig | undefined
  /** Nodes that live in this process, each with its own connections and address. Default 1. */
  readonly nodes?: number
  readonly log?: boolean
}

/** At the `skip`-th time after now that the fault point is passed, the action happens, once. */
export interface Arm {
  readonly point: FaultPoint
  readonly action: FaultAction
  readonly skip?: number
}

export type NodeLine =
  | { readonly ready: readonly number[] }
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

const done = z.object({
  operation: z.string(),
  seq: z.number(),
  user: z.string(),
  mark: z.string(),
  note: z.string(),
})
const room = defineChannel('room:{id}', { events: { done }, canSubscribe: () => true })
const hall = defineChannel('tenant:{tenant}:hall:{id}', { events: { done }, canSubscribe: () => true })
const study = defineChannel(`${studies}:{user}`, {
  events: { done },
  canSubscribe: ({ user, params }) => user.id === params.user,
})

const input = z.object({
  /** One for each event, in this order. */
  rooms: z.array(z.string()),
  fail: z.enum(['throw', 'constraint', 'deferred', 'conflict']).optional(),
  /** Before all else something is written and emitted to the first room, and rolled back again. */
  nested: z.enum(['transaction', 'savepoint']).optional(),
  /** Tells one input from another: it stands in the events and in the result. */
  note: z.string().default(''),
  /** Time between the insert and the end, in the middle of the transaction. */
  holdMs: z.number().optional(),
})

/** Operations whose first attempt here has met its conflict. */
const conflicted = new Set<string>()
const expected = new Error('a nested transaction fails')

function channelFor(place: string) {
  const [family = '', id] = place.split('/')
  if (id === undefined) return room({ id: place })
  return family === studies ? study({ user: id }) : hall({ tenant: family, id })
}

async function startNode() {
  const database = fromPool(new pg.Pool({ connectionString: config.databaseUrl, max: 10, pipeline: true }), {
    acquireTimeoutMs: 2_000,
  })
  const { bus, leaseMs, headCheckMs } = config
  const lockstep = createLockstep({
    database,
    channels: [room, hall, study],
    auth: { secret: config.secret },
    logger: config.log === true ? jsonLogger : silentLogger,
    ...(leaseMs === undefined ? {} : { leaseMs }),
    ...(headCheckMs === undefined ? {} : { headCheckMs }),
    ...(bus === undefined ? {} : { bus: bus === false ? bus : await createNodeBus(bus, database) }),
  })
  lockstep.operation('work', {
    input,
    rollback: rollbackWords,
    async run({ input: { rooms, holdMs, fail, nested, note }, user, tx, signal }) {
      const operation = tx.operationId
      const emit = (within: typeof tx, place: string, seq: number): void => {
        within.emit(channelFor(place), 'done', { operation, seq, user: user.id, mark: markOf(place), note })
      }
      const emitInVain = async (within: typeof tx): Promise<void> => {
        await within.db.query('insert into effects (operation_id) values ($1)', [operation])
        emit(within, rooms[0] ?? '', 0)
      }
      if (nested === 'transaction') {
        const fails = tx.transaction(async (inner) => {
          await emitInVain(inner)
          throw expected
        })
        await fails.catch((error: unknown) => {
          if (error !== expected) throw error
        })
      } else if (nested === 'savepoint') {
        await tx.db.query('savepoint in_vain')
        await emitInVain(tx)
        await tx.db.query('rollback to in_vain')
      }
      await tx.db.query('insert into effects (operation_id) values ($1)', [operation])
      rooms.forEach((place, seq) => emit(tx, place, seq))
      if (holdMs !== undefined) await pause(holdMs, undefined, { signal })
      if (fail === 'constraint') await tx.db.query('insert into effects (operation_id) values (null)')
      if (fail === 'deferred') {
        await tx.db.query('insert into later_unique (operation_id) values ($1), ($1)', [operation])
      }
      if (fail === 'conflict' && !conflicted.has(operation)) {
        conflicted.add(operation)
        await tx.db.query(`do $$ begin raise exception 'a conflict' using errcode = '40001'; end $$`)
      }
      if (fail === 'throw') throw new Error(`the work failed: ${markOf(internalOwner)}`)
      return { operation, events: rooms.length, note, mark: markOf(ownerOf(user.id)) }
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
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return { lockstep, port: (server.address() as AddressInfo).port }
}

createInterface({ input: process.stdin }).on('line', (line) => arm(JSON.parse(line) as Arm))
// The end of whoever started it is the end of this process, too.
process.stdin.on('end', () => process.exit(3))

const nodes = await Promise.all(Array.from({ length: config.nodes ?? 1 }, startNode))
say({ ready: nodes.map(({ port }) => port) })
process.once('SIGTERM', () => {
  void Promise.all(nodes.map(({ lockstep }) => lockstep.close({ drainMs: 500 }))).then(() => process.exit(0))
})

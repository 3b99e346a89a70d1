// Server process of the fault lanes: Lockstep over a pipelined pool, and an HTTP server. Its parent configures it by
// its environment, and steers it by lines on its standard input. Its output is for people; the checker reads none of
// it.
import { createServer } from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'
import type { AddressInfo } from 'node:net'
import { createInterface } from 'node:readline'
import { writeSync } from 'node:fs'
import pg from 'pg'
import { z } from 'zod'
import { faultPoints, runFaultPoints, setFaultHook, type FaultPoint } from '../../src/core/fault-point.ts'
import {
  fromPool,
  jsonLogger,
  silentLogger,
  type Lockstep,
  type OperationContext,
  type PgDatabase,
} from '../../src/index.ts'
import { createLockstepWith } from '../../src/lockstep.ts'
import { addReceipt, createReceiptsPart, leavePromise, notePromises } from '../support/receipts-part.ts'
import { createNodeBus, type NodeBusConfig } from './node-bus.ts'
import { BuggyNode, type Emitted, type NodeBug } from './node-bugs.ts'
import { declareJobs } from './jobs.ts'
import { internalOwner, markOf, ownerOf, rollbackWords, studies } from './places.ts'

export type FaultAction = 'kill' | 'throw' | 'stop'

export interface NodeConfig {
  readonly databaseUrl: string
  readonly secret: string
  readonly leaseMs?: number
  readonly headCheckMs?: number
  /**
   * Bus of the node. Default: over the database. False: commits of other nodes are noticed by the comparison of heads
   * alone.
   */
  readonly bus?: false | NodeBusConfig | undefined
  /** Nodes that live in this process, each with its own connections and address. Default 1. */
  readonly nodes?: number
  readonly log?: boolean
  /** Bug that is planted beside the product. */
  readonly bug?: NodeBug | undefined
}

/** Action at a fault point, taken once: when the point is passed for the `skip`-th time from now. */
export interface Arm {
  readonly point: FaultPoint
  readonly action: FaultAction
  readonly skip?: number
}

/** Takes back every arm whose point was not passed yet. */
export interface Disarm {
  readonly disarm: true
}

export type NodeLine =
  | { readonly ready: readonly number[] }
  | { readonly armed: FaultPoint | 'none' }
  /** The line is written before the action happens. */
  | { readonly reached: FaultPoint }

const config = JSON.parse(process.env['FAULT_NODE'] ?? '') as NodeConfig
// Writes synchronously: the process may be gone right afterwards.
const say = (line: NodeLine): unknown => writeSync(1, `${JSON.stringify(line)}\n`)

const allPoints: ReadonlySet<FaultPoint> = new Set([...faultPoints, ...runFaultPoints])
const armed = new Map<FaultPoint, { action: FaultAction; skip: number }>()
const arm = ({ point, action, skip = 0 }: Arm): void => {
  if (allPoints.has(point)) armed.set(point, { action, skip })
  say({ armed: point })
}
const disarm = (): void => {
  armed.clear()
  say({ armed: 'none' })
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
const receipts = createReceiptsPart()

function declareChannels(lockstep: Lockstep<PgDatabase>) {
  const room = lockstep.channel('room:{id}', { events: { done }, canSubscribe: () => true })
  const hall = lockstep.channel('tenant:{tenant}:hall:{id}', { events: { done }, canSubscribe: () => true })
  const study = lockstep.channel(`${studies}:{user}`, {
    events: { done },
    canSubscribe: ({ user, params }) => user.id === params.user,
  })
  return (place: string) => {
    const [family = '', id] = place.split('/')
    if (id === undefined) return room({ id: place })
    return family === studies ? study({ user: id }) : hall({ tenant: family, id })
  }
}

const input = z.object({
  /** Place of each event, in this order. */
  rooms: z.array(z.string()),
  fail: z.enum(['throw', 'constraint', 'deferred', 'conflict']).optional(),
  /** The operation first writes and emits to the first room in a nested scope, and rolls that back. */
  nested: z.enum(['transaction', 'savepoint']).optional(),
  /** Text that tells one input from another: it stands in the events and in the result. */
  note: z.string().default(''),
  /** Channel of a promise that is left at once, and stands until a settlement withdraws it. */
  promise: z.string().optional(),
  /** Time between the insert and the end, in the middle of the transaction. */
  holdMs: z.number().optional(),
})

/** Operations whose first attempt here has met its conflict. */
const conflicted = new Set<string>()
const expected = new Error('a nested transaction fails')

async function startNode() {
  const database = fromPool(new pg.Pool({ connectionString: config.databaseUrl, max: 10, pipeline: true }), {
    acquireTimeoutMs: 2_000,
  })
  const { bus, leaseMs, headCheckMs } = config
  const buggy = config.bug === undefined ? undefined : new BuggyNode(config.bug, database.own)
  const settings = {
    database,
    auth: { secret: config.secret },
    logger: config.log === true ? jsonLogger : silentLogger,
    ...(leaseMs === undefined ? {} : { leaseMs }),
    ...(headCheckMs === undefined ? {} : { headCheckMs }),
    ...(bus === undefined ? {} : { bus: bus === false ? bus : await createNodeBus(bus, database) }),
    ...(buggy === undefined ? {} : { bus: buggy.bus }),
  }
  const lockstep = createLockstepWith(settings, [receipts])
  const channelFor = declareChannels(lockstep)
  declareJobs(lockstep)
  const work = async ({
    input: { rooms, holdMs, fail, nested, note, promise },
    user,
    tx,
    signal,
  }: OperationContext<typeof database.db, z.output<typeof input>>) => {
    const operation = tx.operationId
    if (promise !== undefined) await leavePromise(tx, receipts, promise)
    addReceipt(tx, receipts, 'work')
    const emit = (within: typeof tx, place: string, seq: number): void => {
      const channel = channelFor(place)
      const data = { operation, seq, user: user.id, mark: markOf(place), note }
      within.emit(channel, 'done', data)
      buggy?.emitted({ operation, place, channel: channel.name, type: 'done', data })
    }
    const emitInVain = async (within: typeof tx): Promise<void> => {
      await within.db.query('insert into effects (operation_id) values ($1)', [operation])
      addReceipt(within, receipts, 'in vain')
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
  }
  lockstep.operation('work', {
    input,
    rollback: rollbackWords,
    async run(context) {
      if (buggy === undefined) return await work(context)
      const emitAgain = ({ place, data }: Emitted): void =>
        context.tx.emit(channelFor(place), 'done', done.parse(data))
      return await buggy.attempt(context.tx.operationId, () => work(context), emitAgain)
    },
  })
  // The database may be down just now; a server that waits for it would be restarted by a deployment anyway.
  for (;;) {
    try {
      await lockstep.start()
      await database.own.query({ text: notePromises })
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

createInterface({ input: process.stdin }).on('line', (line) => {
  const asked = JSON.parse(line) as Arm | Disarm
  if ('disarm' in asked) disarm()
  else arm(asked)
})
// The end of the parent is the end of this process, too.
process.stdin.on('end', () => process.exit(3))

const nodes = await Promise.all(Array.from({ length: config.nodes ?? 1 }, startNode))
say({ ready: nodes.map(({ port }) => port) })
process.once('SIGTERM', () => {
  void Promise.all(nodes.map(({ lockstep }) => lockstep.close({ drainMs: 500 }))).then(() => process.exit(0))
})

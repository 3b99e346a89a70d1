// A server that writes a row and an event in one of several ways. By hand, in three flights to Postgres: BEGIN, the
// row, and the rest with COMMIT.
import { createServer } from 'node:http'
import pg from 'pg'
import { z } from 'zod'
import {
  createLockstep,
  fromPool,
  silentLogger,
  type Lockstep,
  type LockstepOptions,
  type PgDatabase,
} from '../../src/index.ts'
import type { MonitorOptions } from '../../src/node/index.ts'
import { answerBench, childConfig, listenLocally, nowUs, patient } from '../harness/child-host.ts'
import {
  closedLoop,
  countedLoop,
  openLoop,
  type ClosedLoad,
  type CountedLoad,
  type OpenLoad,
} from '../harness/load.ts'
import { Latencies } from '../harness/histogram.ts'

/**
 * `plain-two-flights`: BEGIN and the row leave together, as Lockstep sends them. `statements`: those that Lockstep sends on
 * the connection of an operation, in its flights, and nothing else of it.
 */
export type TransactionVariant =
  'lockstep' | 'plain' | 'plain-two-flights' | 'outbox' | 'notify' | 'counter' | 'statements'

export interface TransactorConfig {
  readonly databaseUrl: string
  readonly variant: TransactionVariant
  readonly connections: number
  /** `false`: no bus. */
  readonly bus?: false
  readonly monitor?: MonitorOptions
  /** `false`: no note of the start. */
  readonly intent?: false
}

export interface TransactionLoad extends ClosedLoad {
  readonly channels: number
}

export interface TransactionWarmUp extends CountedLoad {
  readonly channels: number
}

const insertMessage = 'insert into messages (channel, body) values ($1, $2) returning id'
const insertOutbox = 'insert into outbox (channel, type, data) values ($1, $2, $3)'
/** Calls come from many users in turn, as in an application: a user alone may hold seven of eight connections. */
const users = Array.from({ length: 64 }, (_, number) => `user-${number}`)
const body =
  'a message of a chat, about as long as messages of chats are: a hundred bytes or so, with this end.'

const config = childConfig() as TransactorConfig
const pool = new pg.Pool({
  connectionString: config.databaseUrl,
  max: config.connections,
  pipeline: true,
  // A variant that waits for its turn keeps its connections.
  idleTimeoutMillis: 0,
})

const server = createServer()

type Send = (channel: string) => Promise<unknown>

/** Handler without Lockstep; the last statements leave in the flight of COMMIT. */
function byHand(
  rest: (client: pg.PoolClient, channel: string, id: string) => Promise<unknown>[],
  beginsAlone = true,
): Send {
  return async (channel) => {
    const client = await pool.connect()
    try {
      const begun = client.query('begin')
      if (beginsAlone) await begun
      const inserting = client.query<{ id: string }>(insertMessage, [channel, body])
      if (!beginsAlone) await begun
      const { rows } = await inserting
      const sent = rest(client, channel, rows[0]?.id ?? '')
      const ended = await Promise.all([...sent, client.query('commit')])
      if ((ended.at(-1) as pg.QueryResult).command !== 'COMMIT') throw new Error('rolled back')
    } finally {
      client.release()
    }
  }
}

const envelope = (id: string): string => JSON.stringify({ id, body })

const peers: Readonly<Record<Exclude<TransactionVariant, 'lockstep' | 'statements'>, () => Send>> = {
  plain: () => byHand(() => []),
  'plain-two-flights': () => byHand(() => [], false),
  outbox: () =>
    byHand((client, channel, id) => [client.query(insertOutbox, [channel, 'noted', envelope(id)])]),
  notify: () =>
    byHand((client, channel, id) => [
      client.query(insertOutbox, [channel, 'noted', envelope(id)]),
      client.query(`select pg_notify('outbox', $1)`, [channel]),
    ]),
  counter: () => byHand((client) => [client.query('update counter set n = n + 1 where id = 1')]),
}

async function coordinated(): Promise<Send> {
  const options: LockstepOptions<PgDatabase> = {
    database: fromPool(pool, patient),
    logger: silentLogger,
    auth: async ({ token = '' }) => ({ user: { id: token } }),
    ...(config.bus === undefined ? {} : { bus: config.bus }),
  }
  const lockstep: Lockstep<PgDatabase> = createLockstep({
    ...options,
    ...(config.monitor === undefined ? {} : { monitor: config.monitor }),
  })
  const room = lockstep.channel('room:{id}', {
    events: { noted: z.object({ id: z.string(), body: z.string() }) },
    canSubscribe: () => true,
  })
  await lockstep.start()
  lockstep.attach(server)
  const intent = config.intent === undefined ? {} : { intent: config.intent }
  let calls = 0
  return (channel) => {
    calls += 1
    const user = users[calls % users.length] ?? ''
    return lockstep.transaction({ name: 'send_message', user, ...intent }, async (tx) => {
      const { rows } = await tx.db.query<{ id: string }>(insertMessage, [channel, body])
      const [row] = rows
      tx.emit(room({ id: channel }), 'noted', { id: row?.id ?? '', body })
      return row
    })
  }
}

const send = await sendOf(config.variant)

async function sendOf(variant: TransactionVariant): Promise<Send> {
  if (variant === 'lockstep') return coordinated()
  if (variant !== 'statements') return peers[variant]()
  // Knows the inside of Lockstep, and is loaded for its own variant alone: another revision of it may look otherwise there.
  const { statementsAlone } = await import('../harness/statements-alone.ts')
  return statementsAlone(pool, { text: insertMessage, values: (channel) => [channel, body] }, envelope)
}

// Listen on the channel: without a listener, a relay by NOTIFY would do no work.
if (config.variant === 'notify') {
  const listener = new pg.Client({ connectionString: config.databaseUrl })
  listener.on('notification', () => {})
  await listener.connect()
  await listener.query('listen outbox')
}

const channelOf = (n: number, channels: number): string => `c${channels === 1 ? 0 : (n * 7_919) % channels}`

const port = await listenLocally(server)

answerBench({
  /** Port of Lockstep's sockets. */
  port: () => port,
  warmUp: ({ channels, ...load }: TransactionWarmUp) =>
    countedLoop(load, (n) => send(channelOf(n, channels))),
  closed: ({ channels, ...load }: TransactionLoad) => closedLoop(load, (n) => send(channelOf(n, channels))),
  open: async ({ channels, ...load }: OpenLoad & { readonly channels: number }) => {
    const latencies = new Latencies()
    await openLoop(load, async (n, intendedUs) => {
      await send(channelOf(n, channels))
      latencies.record(nowUs() - intendedUs)
    })
    return latencies.percentiles
  },
})

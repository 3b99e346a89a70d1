// A server that commits rows and pushes them to its sockets: a node of Lockstep, or code as you would write it without.
import { createServer } from 'node:http'
import { createAdapter } from '@socket.io/postgres-adapter'
import { connect as connectNats } from 'nats'
import pg from 'pg'
import { createClient } from 'redis'
import { Server as SocketIo } from 'socket.io'
import { WebSocketServer, type WebSocket } from 'ws'
import { z } from 'zod'
import { createLockstep, fromPool, natsBus, redisBus, silentLogger, type Bus } from '../../src/index.ts'
import { answerBench, childConfig, listenLocally, patient } from '../harness/child-host.ts'
import { noteCommits } from '../harness/commit-clock.ts'
import { countedLoop, openLoop, type CountedLoad, type OpenLoad } from '../harness/load.ts'

export type PublisherVariant =
  'lockstep' | 'socket.io' | 'poller' | 'relay' | 'centrifugo-outbox' | 'centrifugo-stream'

export interface PublisherConfig {
  readonly variant: PublisherVariant
  readonly databaseUrl: string
  /** Bus of Lockstep; default the one over Postgres. */
  readonly bus?: 'redis' | 'nats'
  readonly brokerPort?: number
}

export interface PublishLoad extends OpenLoad {
  readonly channels: number
}

export interface PublishWarmUp extends CountedLoad {
  readonly channels: number
}

/** Number of the message, when it should have been sent, and when its COMMIT was acknowledged. */
export type Published = readonly [n: number, intendedUs: number, committedUs: number]

const pollMs = 100
const lookBack = 200
const insertMessage = 'insert into messages (channel, body) values ($1, $2)'
const insertOutbox = 'insert into outbox (channel, type, data) values ($1, $2, $3)'
const body =
  'a message of a chat, about as long as messages of chats are: a hundred bytes or so, with this end.'

const config = childConfig() as PublisherConfig
const pool = new pg.Pool({
  connectionString: config.databaseUrl,
  max: 16,
  pipeline: true,
  idleTimeoutMillis: 0,
})
const committed = noteCommits(pool, messageOf)
const server = createServer()

/** Resolves when its COMMIT was acknowledged, or later. */
type Publish = (channel: string, n: number) => Promise<unknown>

/** The text of a message begins with its number. */
const textOf = (n: number): string => `${n} ${body}`

/** The number of the message that a statement inserts. */
function messageOf([, text]: readonly unknown[]): number | undefined {
  return typeof text === 'string' && text.endsWith(body) ? Number.parseInt(text, 10) : undefined
}

/** The row, and what else belongs to the transaction, in the flight of COMMIT. */
async function commit(
  channel: string,
  n: number,
  rest: (client: pg.PoolClient) => Promise<unknown>[],
): Promise<void> {
  const client = await pool.connect()
  try {
    await client.query('begin')
    await client.query(insertMessage, [channel, textOf(n)])
    await Promise.all([...rest(client), client.query('commit')])
  } finally {
    client.release()
  }
}

async function brokerBus(): Promise<Bus | undefined> {
  const { bus, brokerPort } = config
  if (bus === undefined) return undefined
  if (bus === 'nats') return natsBus(await connectNats({ servers: `127.0.0.1:${brokerPort}` }))
  const publisher = createClient({ url: `redis://127.0.0.1:${brokerPort}` })
  const subscriber = publisher.duplicate()
  await Promise.all([publisher.connect(), subscriber.connect()])
  return redisBus({ publisher, subscriber })
}

async function lockstepPublisher(): Promise<Publish> {
  const bus = await brokerBus()
  const lockstep = createLockstep({
    database: fromPool(pool, patient),
    auth: async ({ token = '' }) => ({ user: { id: token } }),
    logger: silentLogger,
    ...(bus === undefined ? {} : { bus }),
  })
  const room = lockstep.channel('room:{id}', {
    events: { noted: z.object({ n: z.number(), body: z.string() }) },
    canSubscribe: () => true,
  })
  await lockstep.start()
  lockstep.attach(server)
  return (channel, n) =>
    lockstep.transaction({ name: 'send_message', user: 'ada' }, async (tx) => {
      await tx.db.query(insertMessage, [channel, textOf(n)])
      tx.emit(room({ id: channel }), 'noted', { n, body })
    })
}

async function socketIoPublisher(): Promise<Publish> {
  const adapterPool = new pg.Pool({ connectionString: config.databaseUrl, max: 4 })
  await adapterPool.query(
    `create table if not exists socket_io_attachments (id bigserial unique, created_at timestamptz default now(), payload bytea)`,
  )
  const io = new SocketIo(server, { transports: ['websocket'], perMessageDeflate: false, serveClient: false })
  io.adapter(createAdapter(adapterPool))
  io.on('connection', (socket) => {
    socket.on('join', (channel: string, done: () => void) => {
      void socket.join(channel)
      done()
    })
  })
  return async (channel, n) => {
    await commit(channel, n, () => [])
    io.to(channel).emit('noted', { type: 'noted', data: { n, body } })
  }
}

/** A server over `ws`: a client says which channel it wants, and is answered. */
function plainSockets(): (channel: string, text: string) => void {
  const members = new Map<string, Set<WebSocket>>()
  const webSockets = new WebSocketServer({ server, perMessageDeflate: false })
  webSockets.on('connection', (socket) => {
    socket.once('message', (data: Buffer) => {
      const channel = data.toString()
      const others = members.get(channel) ?? new Set()
      members.set(channel, others.add(socket))
      socket.send('joined')
    })
  })
  return (channel, text) => {
    for (const socket of members.get(channel) ?? []) socket.send(text)
  }
}

const eventText = (n: number): string => JSON.stringify({ type: 'noted', data: { n, body } })
const outboxRow = (client: pg.PoolClient, channel: string, n: number): Promise<unknown> =>
  client.query(insertOutbox, [channel, 'noted', eventText(n)])

/**
 * A row of an outbox in the transaction, and a reader that looks for new ones every so often. A lower id may commit
 * after a higher one, so it looks back a little and remembers what it has seen.
 */
async function pollerPublisher(): Promise<Publish> {
  const send = plainSockets()
  const seen = new Set<string>()
  let last = 0
  const poll = async (): Promise<void> => {
    const { rows } = await pool.query<{ id: string; channel: string; data: object }>(
      'select id, channel, data from outbox where id > $1 order by id',
      [last - lookBack],
    )
    for (const { id, channel, data } of rows) {
      last = Math.max(last, Number(id))
      if (seen.has(id)) continue
      seen.add(id)
      send(channel, JSON.stringify(data))
    }
    setTimeout(() => void poll(), pollMs)
  }
  void poll()
  return (channel, n) => commit(channel, n, (client) => [outboxRow(client, channel, n)])
}

/** A row of an outbox and a NOTIFY that carries the event, in the transaction; a listener that passes it on. */
async function relayPublisher(): Promise<Publish> {
  const send = plainSockets()
  const listener = new pg.Client({ connectionString: config.databaseUrl })
  await listener.connect()
  listener.on('notification', ({ payload = '' }) => {
    const end = payload.indexOf(' ')
    send(payload.slice(0, end), payload.slice(end + 1))
  })
  await listener.query('listen outbox')
  return (channel, n) =>
    commit(channel, n, (client) => [
      outboxRow(client, channel, n),
      client.query(`select pg_notify('outbox', $1)`, [`${channel} ${eventText(n)}`]),
    ])
}

/** The row that Centrifugo's consumer of an outbox reads. Its table and trigger are made by the lane. */
const centrifugoOutbox = (): Publish => (channel, n) =>
  commit(channel, n, (client) => [
    client.query(`insert into centrifugo_outbox (method, payload, partition) values ('publish', $1, 0)`, [
      JSON.stringify({ channel: `room:${channel}`, data: JSON.parse(eventText(n)) as object }),
    ]),
  ])

/** The function of Centrifugo's stream broker over Postgres. */
const centrifugoStream = (): Publish => (channel, n) =>
  commit(channel, n, (client) => [
    client.query('select cf_stream_publish(p_channel := $1, p_data := $2::jsonb)', [
      `room:${channel}`,
      eventText(n),
    ]),
  ])

const variants: Readonly<Record<PublisherVariant, () => Publish | Promise<Publish>>> = {
  lockstep: lockstepPublisher,
  'socket.io': socketIoPublisher,
  poller: pollerPublisher,
  relay: relayPublisher,
  'centrifugo-outbox': centrifugoOutbox,
  'centrifugo-stream': centrifugoStream,
}

const publish = await variants[config.variant]()
const port = await listenLocally(server)
let next = 0

/** Resolves to when its COMMIT was acknowledged. */
async function publishNext(
  place: number,
  channels: number,
): Promise<readonly [n: number, committedUs: number]> {
  const n = (next += 1)
  await publish(`c${place % channels}`, n)
  const committedUs = committed.get(n)
  if (committedUs === undefined) throw new Error(`message ${n} did not commit`)
  committed.delete(n)
  return [n, committedUs]
}

answerBench({
  port: () => port,
  warmUp: ({ channels, ...load }: PublishWarmUp) =>
    countedLoop(load, (place) => publishNext(place, channels)),
  publish: async ({ channels, ...load }: PublishLoad): Promise<Published[]> => {
    const published: Published[] = []
    await openLoop(load, async (place, intendedUs) => {
      const [n, committedUs] = await publishNext(place, channels)
      published.push([n, intendedUs, committedUs])
    })
    return published
  },
})

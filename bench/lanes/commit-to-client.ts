import { setTimeout as pause } from 'node:timers/promises'
import type { Published, PublisherConfig, PublishLoad, PublisherVariant } from '../children/publisher.ts'
import type { ClientKind, Received, SubscribeRequest } from '../children/subscribers.ts'
import { startNats, startRedis, type Broker } from '../../test/support/brokers.ts'
import { centrifugoOutboxSchema, startCentrifugo, type Centrifugo } from '../harness/centrifugo.ts'
import { Child, endAll } from '../harness/child.ts'
import { query } from '../harness/database.ts'
import { Latencies, type Percentiles } from '../harness/histogram.ts'
import { rounded, shown, type Lane, type LaneContext, type Table } from '../harness/lane.ts'
import { centrifugoBinary } from '../harness/machine.ts'
import { programPath } from '../harness/programs.ts'
import { interleave } from '../harness/rounds.ts'
import { transactorSchema } from '../harness/transactor-schema.ts'

interface Candidate {
  readonly name: string
  readonly variant: PublisherVariant
  readonly client: ClientKind
  readonly bus?: 'redis' | 'nats'
  /** What it says is written down with the transaction, and survives the death of the process. */
  readonly durable: boolean
}

const own: Candidate = { name: 'Lockstep', variant: 'lockstep', client: 'lockstep', durable: true }
const relay: Candidate = { name: 'NOTIFY relay', variant: 'relay', client: 'ws', durable: true }
const byHand: readonly Candidate[] = [
  relay,
  { name: 'outbox poller, 100 ms', variant: 'poller', client: 'ws', durable: true },
  { name: 'Socket.IO, Postgres adapter', variant: 'socket.io', client: 'socket.io', durable: false },
]
const centrifugos: readonly Candidate[] = [
  { name: 'Centrifugo, outbox consumer', variant: 'centrifugo-outbox', client: 'centrifugo', durable: true },
  { name: 'Centrifugo, stream broker', variant: 'centrifugo-stream', client: 'centrifugo', durable: true },
]
const channels = 10
const rates = { light: 50, medium: 200 } as const

export const commitToClient: Lane = {
  name: 'commit',
  about:
    'from COMMIT acknowledged to the callback of a subscriber, one and three nodes, each bus, against peers',
  minutes: 8,
  async run(context) {
    if (context.quick) return quickFindings(context)
    const brokers = await startBrokers()
    const missing = [
      ...(brokers.redis === undefined ? ['the bus over Redis: there is no redis-server.'] : []),
      ...(brokers.nats === undefined ? ['the bus over NATS: there is no nats-server.'] : []),
      ...(centrifugoBinary() === undefined ? ['Centrifugo: no binary was given (`CENTRIFUGO_BIN`).'] : []),
    ]
    const peers = [...byHand, ...(centrifugoBinary() === undefined ? [] : centrifugos)]
    const busses = [
      { ...own, name: 'Lockstep, Postgres' },
      ...(brokers.redis === undefined ? [] : [{ ...own, name: 'Lockstep, Redis', bus: 'redis' as const }]),
      ...(brokers.nats === undefined ? [] : [{ ...own, name: 'Lockstep, NATS', bus: 'nats' as const }]),
    ]
    try {
      const one = await measure(context, { candidates: [own, ...peers], nodes: 1, brokers })
      const three = await measure(context, { candidates: [...busses, ...peers], nodes: 3, brokers })
      return {
        figures: { ...ownFigures(one), ...against('', one), ...against('three_nodes_', three) },
        tables: [
          ...tablesOf(one, 'One node'),
          ...tablesOf(three, 'Three nodes, subscribers not on the writer’s'),
        ],
        plots: [plotOf('one', 'One node', one), plotOf('three', 'Three nodes', three)],
        missing,
      }
    } finally {
      await Promise.all([brokers.redis?.close(), brokers.nats?.close()])
    }
  },
}

async function quickFindings(context: LaneContext) {
  const found = await measure(context, { candidates: [own, relay], nodes: 1, brokers: {}, onlyRate: 100 })
  return { figures: { ...ownFigures(found), ...against('', found) }, tables: tablesOf(found, 'One node') }
}

interface Brokers {
  readonly redis?: Broker
  readonly nats?: Broker
}

async function startBrokers(): Promise<Brokers> {
  return {
    ...(programPath('redis-server') === undefined ? {} : { redis: await startRedis() }),
    ...(programPath('nats-server') === undefined ? {} : { nats: await startNats() }),
  }
}

interface Setting {
  readonly candidates: readonly Candidate[]
  readonly nodes: number
  readonly brokers: Brokers
  readonly onlyRate?: number
}

interface Row {
  readonly candidate: Candidate
  readonly load: string
  /** From the acknowledged COMMIT. */
  readonly committed: Percentiles
  /** From the moment the transaction should have been sent. */
  readonly intended: Percentiles
}

interface Running {
  readonly candidate: Candidate
  readonly writer: Child
  readonly group: number
  readonly receivers: number
}

async function measure(context: LaneContext, setting: Setting): Promise<readonly Row[]> {
  const { candidates, nodes, onlyRate } = setting
  const clients = await Child.start('subscribers.ts', {})
  const started: { close(): Promise<void> }[] = []
  try {
    const running = new Map<string, Running>()
    for (const candidate of candidates) {
      running.set(candidate.name, await start(context, { ...setting, candidate, clients, started }))
    }
    const loads = onlyRate === undefined ? Object.entries(rates) : [['light', onlyRate] as const]
    const rows: Row[] = []
    for (const [load, perSecond] of loads) {
      for (const one of running.values()) await turn(clients, one, { perSecond: 200, seconds: 1, channels })
      const pooled = new Map(
        candidates.map(({ name }) => [name, { committed: new Latencies(), intended: new Latencies() }]),
      )
      const seconds = context.quick ? 1 : Math.max(context.seconds, 3)
      await interleave([...running.keys()], context.rounds, async (name) => {
        const one = running.get(name) as Running
        const { committed, intended } = pooled.get(name) as { committed: Latencies; intended: Latencies }
        for (const delivery of await turn(clients, one, { perSecond, seconds, channels })) {
          committed.record(delivery.sinceCommitUs)
          intended.record(delivery.sinceIntendedUs)
        }
      })
      for (const candidate of candidates) {
        const { committed, intended } = pooled.get(candidate.name) as Record<string, Latencies> & {
          committed: Latencies
          intended: Latencies
        }
        rows.push({ candidate, load, committed: committed.percentiles, intended: intended.percentiles })
      }
      context.say(`commit to client, ${nodes} nodes, ${perSecond}/s: ${summary(rows, load)}`)
    }
    return rows
  } finally {
    await endAll([clients])
    for (const one of started.toReversed()) await one.close()
  }
}

interface Starting extends Setting {
  readonly candidate: Candidate
  readonly clients: Child
  readonly started: { close(): Promise<void> }[]
}

async function start(
  context: LaneContext,
  { candidate, nodes, brokers, clients, started }: Starting,
): Promise<Running> {
  const postgres = await context.postgres()
  const databaseUrl = await postgres.createDatabase(transactorSchema)
  const { variant, bus } = candidate
  const brokerPort = bus === undefined ? undefined : brokers[bus]?.port
  const config: PublisherConfig = {
    variant,
    databaseUrl,
    ...(bus === undefined || brokerPort === undefined ? {} : { bus, brokerPort }),
  }
  const gateways =
    candidate.client === 'centrifugo' ? await centrifugoNodes(databaseUrl, candidate, nodes) : []
  started.push(...gateways)
  const children: Child[] = []
  for (let node = 0; node < (gateways.length > 0 ? 1 : nodes); node += 1) {
    const child = await Child.start('publisher.ts', config)
    children.push(child)
    started.push({ close: () => child.end() })
  }
  const all = gateways.length > 0 ? gateways.map(({ port }) => port) : await portsOf(children)
  const ports = nodes === 1 ? all : all.slice(1)
  const request: SubscribeRequest = { client: candidate.client, ports, channels }
  const group = await clients.ask<number>('subscribe', request)
  return { candidate, writer: children[0] as Child, group, receivers: ports.length }
}

async function centrifugoNodes(
  databaseUrl: string,
  { variant }: Candidate,
  nodes: number,
): Promise<Centrifugo[]> {
  const mode = variant === 'centrifugo-outbox' ? 'outbox' : 'stream'
  if (mode === 'outbox') await query(databaseUrl, (client) => client.query(centrifugoOutboxSchema))
  const found: Centrifugo[] = []
  for (let node = 0; node < nodes; node += 1) found.push(await startCentrifugo(databaseUrl, mode))
  return found
}

const portsOf = (children: readonly Child[]): Promise<number[]> =>
  Promise.all(children.map((child) => child.ask<number>('port')))

interface Delivery {
  readonly sinceCommitUs: number
  readonly sinceIntendedUs: number
}

const patienceMs = 10_000

async function turn(clients: Child, running: Running, load: PublishLoad): Promise<Delivery[]> {
  const { writer, group, receivers } = running
  const published = await writer.ask<Published[]>('publish', load)
  const wanted = published.length * receivers
  for (let waitedMs = 0; waitedMs < patienceMs; waitedMs += 20) {
    if ((await clients.ask<number>('count', group)) >= wanted) break
    await pause(20)
  }
  const received = await clients.ask<Received[]>('take', group)
  if (received.length !== wanted) {
    throw new Error(`${running.candidate.name}: ${received.length} of ${wanted} messages arrived in time`)
  }
  const sent = new Map(published.map(([n, intendedUs, committedUs]) => [n, { intendedUs, committedUs }]))
  return received.flatMap(([n, receivedUs]) => {
    const times = sent.get(n)
    if (times === undefined) return []
    const { intendedUs, committedUs } = times
    return [{ sinceCommitUs: receivedUs - committedUs, sinceIntendedUs: receivedUs - intendedUs }]
  })
}

const ownFigures = (rows: readonly Row[]): Record<string, number> => {
  const row = rows.find(({ candidate, load }) => candidate.variant === 'lockstep' && load === 'light')
  return {
    commit_to_client_p50_ms: rounded(row?.committed.p50 ?? Number.NaN),
    commit_to_client_p99_ms: rounded(row?.committed.p99 ?? Number.NaN),
  }
}

/** The p99 of the best peer over ours, and over that of our best bus: higher is better for us. */
function against(prefix: string, rows: readonly Row[]): Record<string, number> {
  const light = rows.filter(({ load }) => load === 'light')
  const best = (fits: (candidate: Candidate) => boolean): number =>
    Math.min(...light.filter(({ candidate }) => fits(candidate)).map(({ committed }) => committed.p99))
  const ours = best(({ variant }) => variant === 'lockstep')
  const durable = best(({ variant, durable: isDurable }) => isDurable && variant !== 'lockstep')
  const socketIo = best(({ variant }) => variant === 'socket.io')
  return {
    [`commit_to_client_${prefix}p99_vs_best_durable_peer`]: rounded(durable / ours),
    ...(Number.isFinite(socketIo)
      ? { [`commit_to_client_${prefix}p99_vs_socketio`]: rounded(socketIo / ours) }
      : {}),
  }
}

function tablesOf(rows: readonly Row[], nodes: string): Table[] {
  return [...new Set(rows.map(({ load }) => load))].map((load) => ({
    title: `${nodes}, ${load} load (${rates[load as keyof typeof rates]} transactions a second)`,
    columns: ['variant', 'p50 ms', 'p99 ms', 'max ms', 'from intended: p50 ms', 'p99 ms', 'deliveries'],
    rows: rows
      .filter((row) => row.load === load)
      .map(({ candidate, committed, intended }) => [
        candidate.name,
        ...[committed.p50, committed.p99, committed.max, intended.p50, intended.p99].map(shown),
        committed.count,
      ]),
  }))
}

function plotOf(name: string, nodes: string, rows: readonly Row[]) {
  const light = rows.filter(({ load }) => load === 'light')
  return {
    name,
    title: `COMMIT to callback, ${nodes.toLowerCase()}, light load`,
    unit: 'ms',
    labels: light.map(({ candidate }) => candidate.name),
    series: [
      { name: 'p50', values: light.map(({ committed }) => committed.p50) },
      { name: 'p99', values: light.map(({ committed }) => committed.p99) },
    ],
  }
}

const summary = (rows: readonly Row[], wanted: string): string =>
  rows
    .filter(({ load }) => load === wanted)
    .map(({ candidate, committed }) => `${candidate.name} ${shown(committed.p50)}/${shown(committed.p99)} ms`)
    .join(', ')

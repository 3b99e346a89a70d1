import type { PublisherConfig, PublisherVariant, PublishWarmUp } from '../children/publisher.ts'
import type { ClientKind, SubscribeRequest } from '../children/subscribers.ts'
import { startNats, startRedis, type Broker } from '../../test/support/brokers.ts'
import {
  centrifugoOutboxSchema,
  startCentrifugo,
  type Centrifugo,
  type CentrifugoOptions,
} from '../harness/centrifugo.ts'
import { Child, endAll } from '../harness/child.ts'
import { query } from '../harness/database.ts'
import { rounded, shown, times, type Lane, type LaneContext, type Table } from '../harness/lane.ts'
import { warmUpOperations } from '../harness/load.ts'
import { centrifugoBinary } from '../harness/machine.ts'
import { programPath } from '../harness/programs.ts'
import { publishTurn, received, type Publishing, type PublishTurn } from '../harness/publishing.ts'
import { interleave, medianOf, ratioOf } from '../harness/rounds.ts'
import { transactorSchema } from '../harness/transactor-schema.ts'

interface Candidate {
  readonly name: string
  readonly variant: PublisherVariant
  readonly client: ClientKind
  /** Bus between the nodes; default Postgres. */
  readonly bus?: 'redis' | 'nats'
  /** True where the message is stored with the transaction, and survives the death of the process. */
  readonly durable: boolean
}

const own: Candidate = { name: 'Lockstep', variant: 'lockstep', client: 'lockstep', durable: true }
const relay: Candidate = { name: 'NOTIFY relay', variant: 'relay', client: 'ws', durable: true }
const byHand: readonly Candidate[] = [
  relay,
  { name: 'outbox poller, 100 ms', variant: 'poller', client: 'ws', durable: true },
  { name: 'Socket.IO, Postgres adapter', variant: 'socket.io', client: 'socket.io', durable: false },
]
const outbox: Candidate = {
  name: 'Centrifugo, outbox consumer',
  variant: 'centrifugo-outbox',
  client: 'centrifugo',
  durable: true,
}
const stream: Candidate = {
  name: 'Centrifugo, stream broker',
  variant: 'centrifugo-stream',
  client: 'centrifugo',
  durable: true,
}
const channels = 10
/** Transactions a second. */
const rates = { light: 100, medium: 300 } as const
type Load = keyof typeof rates

export const commitToClient: Lane = {
  name: 'commit',
  about:
    'from COMMIT acknowledged to the callback of a subscriber, one and three nodes, each bus, against peers',
  minutes: 9,
  async run(context) {
    if (context.quick) return quickFindings(context)
    const brokers = await startBrokers()
    const missing = [
      ...(brokers.redis === undefined ? ['the bus over Redis: there is no redis-server.'] : []),
      ...(brokers.nats === undefined ? ['the bus over NATS: there is no nats-server.'] : []),
      ...missingCentrifugos(brokers),
    ]
    const busses = [
      { ...own, name: 'Lockstep, Postgres' },
      ...(brokers.redis === undefined ? [] : [{ ...own, name: 'Lockstep, Redis', bus: 'redis' as const }]),
      ...(brokers.nats === undefined ? [] : [{ ...own, name: 'Lockstep, NATS', bus: 'nats' as const }]),
    ]
    try {
      const one = await measure(context, {
        candidates: [own, ...byHand, ...centrifugos(1, brokers)],
        nodes: 1,
        brokers,
      })
      const three = await measure(context, {
        candidates: [...busses, ...byHand, ...centrifugos(3, brokers)],
        nodes: 3,
        brokers,
      })
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

/**
 * Centrifugo's variants for a number of nodes. Only one node reads a row of the outbox, so the others get it over an
 * engine that they share: the engine in memory serves a single node. The stream is read by each node.
 * @see https://centrifugal.dev/docs/server/engines
 */
function centrifugos(nodes: number, { redis }: Brokers): readonly Candidate[] {
  if (centrifugoBinary() === undefined) return []
  if (nodes === 1) return [outbox, stream]
  const shared: Candidate = { ...outbox, name: `${outbox.name}, Redis`, bus: 'redis' }
  return redis === undefined ? [stream] : [shared, stream]
}

function missingCentrifugos({ redis }: Brokers): readonly string[] {
  if (centrifugoBinary() === undefined) return ['Centrifugo: no binary was given (`CENTRIFUGO_BIN`).']
  if (redis === undefined) return ['three nodes of Centrifugo’s outbox consumer: there is no redis-server.']
  return []
}

async function quickFindings(context: LaneContext) {
  const found = await measure(context, { candidates: [own, relay], nodes: 1, brokers: {} })
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
}

interface Row {
  readonly candidate: Candidate
  readonly load: Load
  readonly turns: readonly PublishTurn[]
}

interface Running extends Publishing {
  readonly candidate: Candidate
  readonly databaseUrl: string
}

async function measure(context: LaneContext, setting: Setting): Promise<readonly Row[]> {
  const { candidates, nodes } = setting
  const clients = await Child.start('subscribers.ts', {})
  const started: { close(): Promise<void> }[] = []
  try {
    const running = new Map<string, Running>()
    for (const candidate of candidates) {
      running.set(candidate.name, await start(context, { ...setting, candidate, clients, started }))
    }
    for (const one of running.values()) await warmUp(context, one)
    const rows: Row[] = []
    for (const load of context.quick ? (['light'] as const) : (Object.keys(rates) as Load[])) {
      const perSecond = rates[load]
      const found = await interleave([...running.keys()], turnsOf(context), (name) =>
        publishTurn(running.get(name) as Running, { perSecond, seconds: secondsOf(context), channels }),
      )
      const ofLoad = candidates.map((candidate) => ({ candidate, load, turns: found[candidate.name] ?? [] }))
      context.say(`commit to client, ${nodes} nodes, ${perSecond}/s: ${summary(ofLoad)}`)
      rows.push(...ofLoad)
    }
    return rows
  } finally {
    await endAll([clients])
    for (const one of started.toReversed()) await one.close()
  }
}

/** Seconds that give each turn enough deliveries for the second or third slowest to be its p99. */
const secondsOf = ({ quick, seconds }: LaneContext): number => Math.max(seconds, quick ? 1 : 1.5)
const turnsOf = ({ quick, rounds }: LaneContext): number => (quick ? Math.min(rounds, 3) : rounds)

async function warmUp({ quick, postgres }: LaneContext, running: Running): Promise<void> {
  const load: PublishWarmUp = { workers: 8, operations: warmUpOperations, channels }
  const messages = await running.writer.ask<number>('warmUp', quick ? { ...load, atMostSeconds: 1.5 } : load)
  await received(running, messages)
  await (await postgres()).tidy(running.databaseUrl)
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
    candidate.client === 'centrifugo'
      ? await centrifugoNodes(variant, nodes, { databaseUrl, brokerPort })
      : []
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
  return {
    name: candidate.name,
    candidate,
    writer: children[0] as Child,
    databaseUrl,
    clients,
    group,
    receivers: ports.length,
  }
}

async function centrifugoNodes(
  variant: PublisherVariant,
  nodes: number,
  { databaseUrl, brokerPort }: { readonly databaseUrl: string; readonly brokerPort: number | undefined },
): Promise<Centrifugo[]> {
  const options: CentrifugoOptions =
    variant === 'centrifugo-outbox'
      ? { mode: 'outbox', databaseUrl, redisPort: brokerPort }
      : { mode: 'stream', databaseUrl }
  if (options.mode === 'outbox') await query(databaseUrl, (client) => client.query(centrifugoOutboxSchema))
  const found: Centrifugo[] = []
  for (let node = 0; node < nodes; node += 1) found.push(await startCentrifugo(options))
  return found
}

const portsOf = (children: readonly Child[]): Promise<number[]> =>
  Promise.all(children.map((child) => child.ask<number>('port')))

const p50 = (row: Row | undefined): number => medianOf(row?.turns ?? [], ({ committed }) => committed.p50)
const p99 = (row: Row | undefined): number => medianOf(row?.turns ?? [], ({ committed }) => committed.p99)

const ownFigures = (rows: readonly Row[]): Record<string, number> => {
  const row = rows.find(({ candidate, load }) => candidate.variant === 'lockstep' && load === 'light')
  return { commit_to_client_p50_ms: rounded(p50(row)), commit_to_client_p99_ms: rounded(p99(row)) }
}

/** The p99 of the best peer over that of our best bus, turn by turn: higher is better for us. */
function against(prefix: string, rows: readonly Row[]): Record<string, number> {
  const light = rows.filter(({ load }) => load === 'light')
  const best = (fits: (candidate: Candidate) => boolean): readonly PublishTurn[] | undefined =>
    light.filter(({ candidate }) => fits(candidate)).toSorted((a, b) => p99(a) - p99(b))[0]?.turns
  const ours = best(({ variant }) => variant === 'lockstep')
  const durable = best(({ variant, durable: isDurable }) => isDurable && variant !== 'lockstep')
  const socketIo = best(({ variant }) => variant === 'socket.io')
  const ratio = (peer: readonly PublishTurn[]): number =>
    rounded(ratioOf(peer, ours ?? [], ({ committed }) => committed.p99).median)
  return {
    ...(durable === undefined
      ? {}
      : { [`commit_to_client_${prefix}p99_vs_best_durable_peer`]: ratio(durable) }),
    ...(socketIo === undefined ? {} : { [`commit_to_client_${prefix}p99_vs_socketio`]: ratio(socketIo) }),
  }
}

function tablesOf(rows: readonly Row[], nodes: string): Table[] {
  return [...new Set(rows.map(({ load }) => load))].map((load) => {
    const ofLoad = rows.filter((row) => row.load === load)
    const first = ofLoad.find(({ candidate }) => candidate.variant === 'lockstep')?.turns ?? []
    return {
      title: `${nodes}, ${load} load (${rates[load]} transactions a second)`,
      note: `Medians of ${first.length} turns of ${first[0]?.committed.count ?? 0} deliveries; the ratio is of p99, turn by turn, to that of the first line.`,
      columns: ['variant', 'p50 ms', 'p99 ms', 'of the first', 'from intended: p50 ms', 'p99 ms'],
      rows: ofLoad.map((row) => [
        row.candidate.name,
        shown(p50(row)),
        shown(p99(row)),
        row.turns === first ? '' : times(ratioOf(row.turns, first, ({ committed }) => committed.p99)),
        shown(medianOf(row.turns, ({ intended }) => intended.p50)),
        shown(medianOf(row.turns, ({ intended }) => intended.p99)),
      ]),
    }
  })
}

function plotOf(name: string, nodes: string, rows: readonly Row[]) {
  const light = rows.filter(({ load }) => load === 'light')
  return {
    name,
    title: `COMMIT to callback, ${nodes.toLowerCase()}, light load`,
    unit: 'ms',
    labels: light.map(({ candidate }) => candidate.name),
    series: [
      { name: 'p50', values: light.map((row) => shown(p50(row))) },
      { name: 'p99', values: light.map((row) => shown(p99(row))) },
    ],
  }
}

const summary = (rows: readonly Row[]): string =>
  rows.map((row) => `${row.candidate.name} ${shown(p50(row))}/${shown(p99(row))} ms`).join(', ')

import type { OpenRequest } from '../children/receivers.ts'
import type { TransactionLoad, TransactorConfig } from '../children/transactor.ts'
import { Child, endAll } from '../harness/child.ts'
import { query, type BenchPostgres } from '../harness/database.ts'
import {
  rounded,
  shown,
  type Lane,
  type LaneContext,
  type LaneFindings,
  type Table,
} from '../harness/lane.ts'
import { rampSeconds, type ClosedResult } from '../harness/load.ts'
import { interleave, medianOf, ratioOf } from '../harness/rounds.ts'
import { transactorSchema } from '../harness/transactor-schema.ts'

const workers = 16

interface Turn extends ClosedResult {
  readonly postgresUsPerOperation: number
}

interface Point {
  readonly size: number
  readonly child: Child
  readonly channels: number
}

export const growth: Lane = {
  name: 'growth',
  about: 'cost of an operation as channels, stored events, subscribers and nodes grow',
  minutes: 6,
  async run(context) {
    const parts: LaneFindings[] = []
    for (const part of [byChannels, byEvents, bySubscribers, byNodes]) parts.push(await part(context))
    return {
      figures: Object.assign({}, ...parts.map(({ figures }) => figures)) as Record<string, number>,
      tables: parts.flatMap(({ tables }) => tables),
    }
  },
}

async function startNode(databaseUrl: string): Promise<Child> {
  const config: TransactorConfig = { databaseUrl, variant: 'lockstep', connections: workers }
  return Child.start('transactor.ts', config)
}

async function byChannels(context: LaneContext): Promise<LaneFindings> {
  const postgres = await context.postgres()
  const databaseUrl = await postgres.createDatabase(transactorSchema)
  const child = await startNode(databaseUrl)
  try {
    await query(databaseUrl, async (client) => {
      await client.query(fillChannels, [100_000])
      await client.query('vacuum analyze lockstep.channels')
    })
    const points = [10, 100, 1_000, 10_000, 100_000].map((size) => ({ size, child, channels: size }))
    return await findings(context, points, {
      what: 'channels',
      note: 'Each operation emits to one of so many channels, all of which exist.',
    })
  } finally {
    await endAll([child])
  }
}

const fillChannels = `insert into lockstep.channels (channel, head) select 'room:c' || n, 0 from generate_series(0, $1 - 1) n`
const fillEvents = `insert into lockstep.events (channel, "offset", operation_id, type, data, at)
  select 'room:c' || n % 1000, n / 1000 + 1, gen_random_uuid(), 'noted',
    '{"id":"1","body":"a message of a chat, about as long as messages of chats are: a hundred bytes"}', now()
  from generate_series(0, $1 - 1) n`
const fillHeads = `insert into lockstep.channels (channel, head)
  select channel, max("offset") from lockstep.events group by channel
  on conflict (channel) do update set head = excluded.head`
const fillOperations = `insert into lockstep.operations (id, name, user_id, input_hash, state, settled_at, positions)
  select gen_random_uuid(), 'send_message', 'ada', 'send_message', 'committed', now(), '{}' from generate_series(1, $1)`

async function byEvents(context: LaneContext): Promise<LaneFindings> {
  const postgres = await context.postgres()
  const sizes = [10_000, 100_000, 1_000_000, ...(context.large ? [10_000_000] : [])]
  const points: Point[] = []
  try {
    for (const size of sizes) {
      const databaseUrl = await postgres.createDatabase(transactorSchema)
      const child = await startNode(databaseUrl)
      points.push({ size, child, channels: 1_000 })
      await query(databaseUrl, async (client) => {
        await client.query(fillEvents, [size])
        await client.query(fillHeads)
        await client.query(fillOperations, [size])
        await client.query('vacuum analyze lockstep.events, lockstep.channels, lockstep.operations')
      })
      context.say(`growth: ${size} events and as many outcomes are there`)
    }
    return await findings(context, points, {
      what: 'stored events',
      note: 'As many events, and as many outcomes of operations, stand in the log already; 1,000 channels.',
    })
  } finally {
    await endAll(points.map(({ child }) => child))
  }
}

async function bySubscribers(context: LaneContext): Promise<LaneFindings> {
  const postgres = await context.postgres()
  const [child, receivers] = await Promise.all([
    startNode(await postgres.createDatabase(transactorSchema)),
    Child.start('receivers.ts', {}),
  ])
  const channels = 5_000
  try {
    // Subscribers are added and never taken away, so the sizes cannot take turns: the first comes again at the end.
    const port = await child.ask<number>('port')
    const found: (readonly [size: number, turns: readonly Turn[]])[] = []
    const measure = async (size: number): Promise<void> => {
      const turns = await interleave(['here'], context.rounds, () =>
        turn(postgres, { size, child, channels }, context),
      )
      found.push([size, turns.here])
    }
    await child.ask('closed', { workers, seconds: 2, channels } satisfies TransactionLoad)
    for (const size of [1, 10, 100, 1_000, 5_000]) {
      const request: OpenRequest = { wire: 'lockstep', port, count: size, channel: 'room:c{n}' }
      const group = await receivers.ask<number>('open', request)
      await measure(size)
      await receivers.ask('close', group)
    }
    return {
      figures: { growth_subscribers: slowdown(found) },
      tables: [
        tableOf(found, {
          what: 'subscribers',
          note: `Each on a channel of its own, of ${channels.toLocaleString('en')} that operations emit to in turn; one after the other, not interleaved.`,
        }),
      ],
    }
  } finally {
    await endAll([child, receivers])
  }
}

async function byNodes(context: LaneContext): Promise<LaneFindings> {
  const postgres = await context.postgres()
  const receivers = await Child.start('receivers.ts', {})
  const children: Child[] = []
  const channels = 100
  const points: Point[] = []
  try {
    for (const size of [1, 2, 3, 5]) {
      const databaseUrl = await postgres.createDatabase(transactorSchema)
      for (let node = 0; node < size; node += 1) {
        const child = await startNode(databaseUrl)
        children.push(child)
        if (node === 0) points.push({ size, child, channels })
        else {
          const port = await child.ask<number>('port')
          const request: OpenRequest = { wire: 'lockstep', port, count: channels, channel: 'room:c{n}' }
          await receivers.ask('open', request)
        }
      }
    }
    return await findings(context, points, {
      what: 'nodes',
      note: `One node works; the others have a subscriber on each of the ${channels} channels, and share the processor with it.`,
    })
  } finally {
    await endAll([...children, receivers])
  }
}

interface Described {
  readonly what: string
  readonly note: string
}

async function findings(
  context: LaneContext,
  points: readonly Point[],
  described: Described,
): Promise<LaneFindings> {
  const postgres = await context.postgres()
  const pointOf = (size: string): Point => points.find((point) => String(point.size) === size) as Point
  for (const { child, channels } of points) {
    await child.ask('closed', { workers, seconds: 1, channels } satisfies TransactionLoad)
  }
  const rounds = await interleave(
    points.map(({ size }) => String(size)),
    context.rounds,
    (size) => turn(postgres, pointOf(size), context),
  )
  const found = points.map(({ size }) => [size, rounds[String(size)] ?? []] as const)
  return {
    figures: { [`growth_${described.what.replace(' ', '_')}`]: slowdown(found) },
    tables: [tableOf(found, described)],
  }
}

async function turn(
  postgres: BenchPostgres,
  { child, channels }: Point,
  { seconds }: LaneContext,
): Promise<Turn> {
  const before = await postgres.cpuUs()
  const result = await child.ask<ClosedResult>('closed', {
    workers,
    seconds,
    channels,
  } satisfies TransactionLoad)
  const operations = result.perSecond * (seconds + rampSeconds)
  return { ...result, postgresUsPerOperation: ((await postgres.cpuUs()) - before) / operations }
}

type Sizes = readonly (readonly [size: number, turns: readonly Turn[]])[]

/** Throughput at the largest size, of that at the smallest. */
function slowdown(found: Sizes): number {
  const [first, last] = [found[0]?.[1] ?? [], found.at(-1)?.[1] ?? []]
  return rounded(ratioOf(last, first, ({ perSecond }) => perSecond).median)
}

function tableOf(found: Sizes, { what, note }: Described): Table {
  return {
    title: `Cost by ${what}`,
    note: `${note} ${workers} connections.`,
    columns: [what, 'operations/s', 'p50 ms', 'p99 ms', 'CPU of Node, µs each', 'CPU of Postgres, µs each'],
    rows: found.map(([size, turns]) => [
      size.toLocaleString('en'),
      Math.round(medianOf(turns, ({ perSecond }) => perSecond)),
      shown(medianOf(turns, ({ latency }) => latency.p50)),
      shown(medianOf(turns, ({ latency }) => latency.p99)),
      Math.round(medianOf(turns, ({ cpuUsPerOperation }) => cpuUsPerOperation)),
      Math.round(medianOf(turns, ({ postgresUsPerOperation }) => postgresUsPerOperation)),
    ]),
  }
}

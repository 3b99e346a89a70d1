import type { OpenRequest } from '../children/receivers.ts'
import { Child, endAll } from '../harness/child.ts'
import { query } from '../harness/database.ts'
import { rounded, shown, times, type Lane, type LaneContext, type LaneFindings } from '../harness/lane.ts'
import { interleave, medianOf, ratioOf, type Ratio } from '../harness/rounds.ts'
import { transactorSchema } from '../harness/transactor-schema.ts'
import { startTransactor, turn, warmUp, type Transactor, type Turn } from '../harness/turn.ts'

const workers = 16

interface Point {
  readonly size: number
  readonly transactor: Transactor
  readonly channels: number
}

export const growth: Lane = {
  name: 'growth',
  about: 'cost of an operation as channels, stored events, subscribers and nodes grow',
  minutes: 11,
  async run(context) {
    const parts: LaneFindings[] = []
    for (const part of [byChannels, byEvents, bySubscribers, byNodes]) parts.push(await part(context))
    return {
      figures: Object.assign({}, ...parts.map(({ figures }) => figures)) as Record<string, number>,
      tables: parts.flatMap(({ tables }) => tables),
    }
  },
}

async function startNode(context: LaneContext): Promise<Transactor> {
  const databaseUrl = await (await context.postgres()).createDatabase(transactorSchema)
  return startTransactor({ databaseUrl, variant: 'lockstep', connections: workers })
}

async function byChannels(context: LaneContext): Promise<LaneFindings> {
  const transactor = await startNode(context)
  try {
    await query(transactor.databaseUrl, (client) => client.query(fillChannels, [100_000]))
    const points = [10, 100, 1_000, 10_000, 100_000].map((size) => ({ size, transactor, channels: size }))
    return await findings(context, points, {
      what: 'channels',
      base: 1_000,
      note: 'Each operation emits to one of so many channels, all of which exist. With ten, operations wait for each other.',
    })
  } finally {
    await endAll([transactor.child])
  }
}

const fillChannels = `insert into lockstep.channels (channel, head) select 'room:c' || n, 0 from generate_series(0, $1 - 1) n`
const fillEvents = `insert into lockstep.events (channel, "offset", operation_id, type, data, at)
  select 'room:c' || n % 1000, n / 1000 + 1, uuidv7(), 'noted',
    '{"id":"1","body":"a message of a chat, about as long as messages of chats are: a hundred bytes"}', now()
  from generate_series(0, $1 - 1) n`
const fillHeads = `insert into lockstep.channels (channel, head)
  select 'room:c' || n, $1 / 1000 from generate_series(0, 999) n`
const fillOperations = `insert into lockstep.operations (id, name, user_id, input_hash, state, settled_at, positions)
  select uuidv7(), 'send_message', 'ada', 'send_message', 'committed', now(),
    jsonb_build_object('room:c' || n % 1000, n / 1000 + 1)
  from generate_series(0, $1 - 1) n`

async function byEvents(context: LaneContext): Promise<LaneFindings> {
  const points: Point[] = []
  try {
    for (const size of [10_000, 100_000, 1_000_000, 10_000_000]) {
      const transactor = await startNode(context)
      points.push({ size, transactor, channels: 1_000 })
      const began = performance.now()
      await Promise.all(
        [fillEvents, fillHeads, fillOperations].map((fill) =>
          query(transactor.databaseUrl, (client) => client.query(fill, [size])),
        ),
      )
      const seconds = (performance.now() - began) / 1_000
      context.say(
        `growth: ${size.toLocaleString('en')} events and as many outcomes written in ${rounded(seconds, 1)} s`,
      )
    }
    return await findings(context, points, {
      what: 'stored events',
      note: 'As many events, and as many outcomes of operations, stand in the log already; 1,000 channels.',
    })
  } finally {
    await endAll(points.map(({ transactor }) => transactor.child))
  }
}

async function bySubscribers(context: LaneContext): Promise<LaneFindings> {
  const channels = 5_000
  const points: Point[] = []
  const receivers: Child[] = []
  try {
    for (const size of [1, 10, 100, 1_000, channels]) {
      const transactor = await startNode(context)
      points.push({ size, transactor, channels })
      receivers.push(await subscribe(transactor, size))
    }
    return await findings(context, points, {
      what: 'subscribers',
      note: `Each on a channel of its own, of ${channels.toLocaleString('en')} that operations emit to in turn: the most subscribers are notified of every operation, one of hardly any.`,
    })
  } finally {
    await endAll([...points.map(({ transactor }) => transactor.child), ...receivers])
  }
}

/** Opens one socket on each of the first `count` channels. */
async function subscribe({ child }: Transactor, count: number): Promise<Child> {
  const receivers = await Child.start('receivers.ts', {})
  const port = await child.ask<number>('port')
  const request: OpenRequest = { wire: 'lockstep', port, count, channel: 'room:c{n}' }
  await receivers.ask('open', request)
  return receivers
}

async function byNodes(context: LaneContext): Promise<LaneFindings> {
  const channels = 100
  const points: Point[] = []
  const others: Child[] = []
  try {
    for (const size of [1, 2, 3, 5]) {
      const transactor = await startNode(context)
      points.push({ size, transactor, channels })
      for (let node = 1; node < size; node += 1) {
        const other = await startTransactor({
          databaseUrl: transactor.databaseUrl,
          variant: 'lockstep',
          connections: workers,
        })
        others.push(other.child, await subscribe(other, channels))
      }
    }
    return await findings(context, points, {
      what: 'nodes',
      note: `One node works; the others have a subscriber on each of the ${channels} channels, and share the processor with it.`,
    })
  } finally {
    await endAll([...points.map(({ transactor }) => transactor.child), ...others])
  }
}

interface Described {
  readonly what: string
  readonly note: string
  /** Size that the others are compared with; default the smallest. */
  readonly base?: number
}

async function findings(
  context: LaneContext,
  points: readonly Point[],
  { what, note, base = points[0]?.size ?? 0 }: Described,
): Promise<LaneFindings> {
  const postgres = await context.postgres()
  const channels = Math.max(...points.map((point) => point.channels))
  await warmUp(postgres, [...new Set(points.map(({ transactor }) => transactor))], { workers, channels })
  const found = await interleave(
    points.map(({ size }) => String(size)),
    context.rounds,
    (size) => {
      const point = points.find((one) => String(one.size) === size) as Point
      return turn(postgres, point.transactor, { workers, seconds: context.seconds, channels: point.channels })
    },
  )
  const turns = (size: number): readonly Turn[] => found[String(size)] ?? []
  const against = (size: number): Ratio => ratioOf(turns(size), turns(base), ({ perSecond }) => perSecond)
  const most = points.at(-1)?.size ?? 0
  context.say(`growth, ${what}: ${rounded(against(most).median)} × at ${most.toLocaleString('en')}`)
  return {
    figures: { [`growth_${what.replace(' ', '_')}`]: rounded(against(most).median) },
    tables: [
      {
        title: `Cost by ${what}`,
        note: `${note} ${workers} connections.`,
        columns: [
          what,
          'operations/s',
          `of ${base.toLocaleString('en')}`,
          'p50 ms',
          'p99 ms',
          'CPU of Node, µs each',
          'CPU of Postgres, µs each',
        ],
        rows: points.map(({ size }) => [
          size.toLocaleString('en'),
          Math.round(medianOf(turns(size), ({ perSecond }) => perSecond)),
          times(against(size)),
          shown(medianOf(turns(size), ({ latency }) => latency.p50)),
          shown(medianOf(turns(size), ({ latency }) => latency.p99)),
          Math.round(medianOf(turns(size), ({ cpuUsPerOperation }) => cpuUsPerOperation)),
          Math.round(medianOf(turns(size), ({ postgresUsPerOperation }) => postgresUsPerOperation)),
        ]),
      },
    ],
  }
}

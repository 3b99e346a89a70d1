import type { TransactionVariant, TransactorConfig, TransactionLoad } from '../children/transactor.ts'
import { Child, endAll } from '../harness/child.ts'
import type { BenchPostgres } from '../harness/database.ts'
import type { Percentiles } from '../harness/histogram.ts'
import { rounded, shown, type Cell, type Lane, type LaneContext, type Table } from '../harness/lane.ts'
import { rampSeconds, type ClosedResult } from '../harness/load.ts'
import { interleave, medianOf, ratioOf, type Ratio, type Rounds } from '../harness/rounds.ts'
import { transactorSchema } from '../harness/transactor-schema.ts'

const names: Readonly<Record<TransactionVariant, string>> = {
  lockstep: 'Lockstep',
  plain: '(a) plain',
  outbox: '(b) outbox row',
  notify: '(c) outbox and NOTIFY',
  counter: 'counter row',
  statements: 'statements of Lockstep',
}

const many = ['lockstep', 'plain', 'outbox', 'notify'] as const
const manyChannels = 1_000
const compared = 16

interface Turn extends ClosedResult {
  readonly postgresUsPerOperation: number
}

export const transaction: Lane = {
  name: 'transaction',
  about: 'a coordinated operation against the same insert: plain, with an outbox row, with outbox and NOTIFY',
  minutes: 5,
  async run(context) {
    const { quick, say } = context
    const postgres = await context.postgres()
    const children = await startAll(postgres, quick ? compared : 64)
    try {
      await warmUp(children)
      const found = new Map<number, Rounds<(typeof many)[number], Turn>>()
      for (const workers of quick ? [compared] : [1, 16, 64]) {
        found.set(workers, await measure({ context, postgres, children }, many, workers, manyChannels))
        say(`transaction, ${workers} connections: ${summary(found.get(workers))}`)
      }
      const hot = await measure(
        { context, postgres, children },
        quick ? ['lockstep', 'counter'] : ['lockstep', 'counter', 'outbox'],
        compared,
        1,
      )
      say(`transaction, one hot channel: ${summary(hot)}`)
      const open = quick ? undefined : await atRate(context, children)
      const byPart = quick ? undefined : await measureParts(context, postgres)
      return {
        figures: figuresOf(found.get(compared), hot),
        tables: [
          ...throughputTables(found),
          hotTable(hot),
          ...(open === undefined ? [] : [openTable(open)]),
          ...(byPart === undefined ? [] : [partsTable(byPart)]),
        ],
        plots: [
          {
            name: 'throughput',
            title: 'Transactions a second, many channels',
            unit: 'transactions/s',
            labels: [...found.keys()].map((workers) => `${workers} connections`),
            series: many.map((variant) => ({
              name: names[variant],
              values: [...found.values()].map((rounds) => Math.round(speed(rounds[variant]))),
            })),
          },
        ],
      }
    } finally {
      await endAll(Object.values(children))
    }
  },
}

type Children = Readonly<Record<Exclude<TransactionVariant, 'statements'>, Child>>

interface Setting {
  readonly context: LaneContext
  readonly postgres: BenchPostgres
  readonly children: Children
}

async function startAll(postgres: BenchPostgres, connections: number): Promise<Children> {
  const started = await Promise.all(
    ([...many, 'counter'] as const).map(async (variant) => {
      const databaseUrl = await postgres.createDatabase(transactorSchema)
      const config: TransactorConfig = { databaseUrl, variant, connections }
      return [variant, await Child.start('transactor.ts', config)] as const
    }),
  )
  return Object.fromEntries(started) as Children
}

async function warmUp(children: Children): Promise<void> {
  const load: TransactionLoad = { workers: compared, seconds: 0.3, channels: manyChannels }
  for (const child of Object.values(children)) await child.ask('closed', load)
}

function measure<const Variant extends keyof Children>(
  { context: { rounds, seconds }, postgres, children }: Setting,
  variants: readonly Variant[],
  workers: number,
  channels: number,
): Promise<Rounds<Variant, Turn>> {
  const load: TransactionLoad = { workers, seconds, channels }
  return interleave(variants, rounds, (variant) => turnOf(postgres, children[variant], load))
}

async function turnOf(postgres: BenchPostgres, child: Child, load: TransactionLoad): Promise<Turn> {
  const before = await postgres.cpuUs()
  const result = await child.ask<ClosedResult>('closed', load)
  const operations = result.perSecond * (load.seconds + rampSeconds)
  return { ...result, postgresUsPerOperation: ((await postgres.cpuUs()) - before) / operations }
}

/** Each is without what the one before it is without, too. */
const parts = {
  'as configured by default': {},
  'monitor off': { monitor: { level: 'off' } },
  'no bus': { monitor: { level: 'off' }, bus: false },
  'no note of the start': { monitor: { level: 'off' }, bus: false, intent: false },
  'its statements alone, sent by hand': { variant: 'statements' },
  '(a) plain': { variant: 'plain' },
} as const satisfies Readonly<Record<string, Partial<TransactorConfig>>>

type Part = keyof typeof parts

async function measureParts(context: LaneContext, postgres: BenchPostgres): Promise<Rounds<Part, Turn>> {
  const children = new Map<Part, Child>()
  try {
    for (const part of Object.keys(parts) as Part[]) {
      const databaseUrl = await postgres.createDatabase(transactorSchema)
      const config: TransactorConfig = {
        databaseUrl,
        variant: 'lockstep',
        connections: compared,
        ...parts[part],
      }
      children.set(part, await Child.start('transactor.ts', config))
    }
    const load = { workers: compared, channels: manyChannels, seconds: context.seconds }
    const run = (part: Part): Promise<Turn> => turnOf(postgres, children.get(part) as Child, load)
    for (const part of children.keys()) await run(part)
    return await interleave([...children.keys()], context.rounds, run)
  } finally {
    await endAll([...children.values()])
  }
}

function partsTable(found: Rounds<Part, Turn>): Table {
  const first = found['as configured by default']
  return {
    title: `What the parts of Lockstep cost, ${compared} connections`,
    note: 'Each line is without what the lines above it are without, too.',
    columns: [
      'Lockstep',
      'transactions/s',
      'of the first',
      'CPU of Node, µs each',
      'CPU of Postgres, µs each',
    ],
    rows: (Object.entries(found) as [Part, readonly Turn[]][]).map(([part, turns]) => [
      part,
      Math.round(speed(turns)),
      times(against(turns, first)),
      Math.round(medianOf(turns, ({ cpuUsPerOperation }) => cpuUsPerOperation)),
      Math.round(medianOf(turns, ({ postgresUsPerOperation }) => postgresUsPerOperation)),
    ]),
  }
}

async function atRate(
  { rounds, seconds }: LaneContext,
  children: Children,
): Promise<Rounds<(typeof many)[number], Percentiles>> {
  return interleave(many, rounds, (variant) =>
    children[variant].ask<Percentiles>('open', { perSecond: openRate, seconds, channels: manyChannels }),
  )
}

const openRate = 200
const speed = (turns: readonly Turn[]): number => medianOf(turns, ({ perSecond }) => perSecond)
const against = (a: readonly Turn[], b: readonly Turn[]): Ratio => ratioOf(a, b, ({ perSecond }) => perSecond)

function figuresOf(
  rounds: Rounds<(typeof many)[number], Turn> | undefined,
  hot: Rounds<'lockstep' | 'counter', Turn>,
): Record<string, number> {
  const figures: Record<string, number> = {}
  for (const peer of ['plain', 'outbox', 'notify'] as const) {
    if (rounds !== undefined)
      figures[`transaction_vs_${peer}`] = rounded(against(rounds.lockstep, rounds[peer]).median)
  }
  figures['hot_channel_vs_counter'] = rounded(against(hot.lockstep, hot.counter).median)
  return figures
}

const columns = [
  'variant',
  'transactions/s',
  'Lockstep is',
  'p50 ms',
  'p99 ms',
  'CPU of Node, µs each',
  'CPU of Postgres, µs each',
]

function rowsOf(
  rounds: Rounds<TransactionVariant, Turn> | Partial<Rounds<TransactionVariant, Turn>>,
): Cell[][] {
  const { lockstep = [] } = rounds
  return (Object.entries(rounds) as [TransactionVariant, readonly Turn[]][]).map(([variant, turns]) => [
    names[variant],
    Math.round(speed(turns)),
    variant === 'lockstep' ? '' : times(against(lockstep, turns)),
    shown(medianOf(turns, ({ latency }) => latency.p50)),
    shown(medianOf(turns, ({ latency }) => latency.p99)),
    Math.round(medianOf(turns, ({ cpuUsPerOperation }) => cpuUsPerOperation)),
    Math.round(medianOf(turns, ({ postgresUsPerOperation }) => postgresUsPerOperation)),
  ])
}

const times = ({ median, lowest, highest }: Ratio): string =>
  `${median.toFixed(2)} × (${lowest.toFixed(2)} to ${highest.toFixed(2)})`

function throughputTables(found: ReadonlyMap<number, Rounds<(typeof many)[number], Turn>>): Table[] {
  return [...found].map(([workers, rounds]) => ({
    title: `Many channels, ${workers} ${workers === 1 ? 'connection' : 'connections'}`,
    note: `As many workers as connections of the pool, each with one transaction at a time, over ${manyChannels.toLocaleString('en')} channels.`,
    columns,
    rows: rowsOf(rounds),
  }))
}

function hotTable(hot: Partial<Rounds<TransactionVariant, Turn>>): Table {
  return {
    title: `One hot channel, ${compared} connections`,
    note: 'The yardstick is one row that every transaction counts up, in the flight of its COMMIT.',
    columns,
    rows: rowsOf(hot),
  }
}

function openTable(open: Rounds<(typeof many)[number], Percentiles>): Table {
  return {
    title: `At ${openRate} transactions a second`,
    note: 'Open loop: time from the moment a transaction should have been sent to its outcome.',
    columns: ['variant', 'p50 ms', 'p99 ms', 'added at p50, ms'],
    rows: many.map((variant) => [
      names[variant],
      shown(medianOf(open[variant], ({ p50 }) => p50)),
      shown(medianOf(open[variant], ({ p99 }) => p99)),
      shown(medianOf(open[variant], ({ p50 }) => p50) - medianOf(open.plain, ({ p50 }) => p50)),
    ]),
  }
}

function summary(rounds: Partial<Rounds<TransactionVariant, Turn>> | undefined): string {
  return (Object.entries(rounds ?? {}) as [TransactionVariant, readonly Turn[]][])
    .map(([variant, turns]) => `${names[variant]} ${Math.round(speed(turns))}/s`)
    .join(', ')
}

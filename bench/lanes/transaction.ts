import type { TransactionVariant, TransactorConfig } from '../children/transactor.ts'
import { endAll } from '../harness/child.ts'
import type { BenchPostgres } from '../harness/database.ts'
import type { Percentiles } from '../harness/histogram.ts'
import { rounded, shown, times, type Cell, type Lane, type LaneContext, type Table } from '../harness/lane.ts'
import { interleave, medianOf, ratioOf, type Ratio, type Rounds } from '../harness/rounds.ts'
import { transactorSchema } from '../harness/transactor-schema.ts'
import { startTransactor, turn, warmUp, type Transactor, type Turn } from '../harness/turn.ts'

const names: Readonly<Record<TransactionVariant, string>> = {
  lockstep: 'Lockstep',
  plain: '(a) plain',
  'plain-two-flights': '(a) plain, BEGIN with the row',
  outbox: '(b) outbox row',
  notify: '(c) outbox and NOTIFY',
  counter: 'counter row',
  statements: 'statements of Lockstep',
}

const many = ['lockstep', 'plain', 'outbox', 'notify'] as const
const manyChannels = 1_000
const compared = 16
/** Operations after which nearly all code is compiled; a quick run has no time for the rest. */
const quickWarmUp = 4_000
const quickSeconds = 2.5

type Many = Rounds<(typeof many)[number], Turn>

interface Found {
  readonly byWorkers: Map<number, Many>
  hot?: Partial<Rounds<TransactionVariant, Turn>>
  open?: Rounds<(typeof many)[number], Percentiles>
}

export const transaction: Lane = {
  name: 'transaction',
  about: 'a coordinated operation against the same insert: plain, with an outbox row, with outbox and NOTIFY',
  minutes: 8,
  async run(context) {
    const { quick } = context
    const postgres = await context.postgres()
    const found: Found = { byWorkers: new Map() }
    for (const workers of quick ? [compared] : [1, compared, 64])
      await measure({ context, postgres, workers }, found)
    const byPart = quick ? undefined : await measureParts(context, postgres)
    const { byWorkers, hot = {}, open } = found
    return {
      figures: figuresOf(byWorkers.get(compared), hot),
      tables: [
        ...throughputTables(byWorkers),
        hotTable(hot),
        ...(open === undefined ? [] : [openTable(open)]),
        ...(byPart === undefined ? [] : [partsTable(byPart)]),
      ],
      plots: [
        {
          name: 'throughput',
          title: 'Transactions a second, many channels',
          unit: 'transactions/s',
          labels: [...byWorkers.keys()].map((workers) => `${workers} connections`),
          series: many.map((variant) => ({
            name: names[variant],
            values: [...byWorkers.values()].map((rounds) => Math.round(speed(rounds[variant]))),
          })),
        },
      ],
    }
  },
}

interface Setting {
  readonly context: LaneContext
  readonly postgres: BenchPostgres
  readonly workers: number
}

/** Measures with processes of its own, since a pool has as many connections as there are workers. */
async function measure({ context, postgres, workers }: Setting, found: Found): Promise<void> {
  const { quick, rounds, seconds, say } = context
  const transactors = await startAll(postgres, workers, [
    ...many,
    ...(workers === compared ? (['counter'] as const) : []),
  ])
  const of = (variant: TransactionVariant): Transactor => transactors.get(variant) as Transactor
  const run = <const Variant extends TransactionVariant>(
    variants: readonly Variant[],
    channels: number,
  ): Promise<Rounds<Variant, Turn>> =>
    interleave(variants, rounds, (variant) => turn(postgres, of(variant), { workers, seconds, channels }))
  try {
    const all = [...transactors.values()]
    const load = { workers, channels: manyChannels, atMostSeconds: quick ? quickSeconds : undefined }
    await warmUp(postgres, all, load, quick ? quickWarmUp : undefined)
    const result = await run(many, manyChannels)
    found.byWorkers.set(workers, result)
    say(`transaction, ${workers} connections: ${summary(result)}`)
    if (workers !== compared) return
    found.hot = await run(quick ? ['lockstep', 'counter'] : ['lockstep', 'counter', 'outbox'], 1)
    say(`transaction, one hot channel: ${summary(found.hot)}`)
    if (!quick) {
      const atRate = { perSecond: openRate, seconds, channels: manyChannels }
      found.open = await interleave(many, rounds, (variant) =>
        of(variant).child.ask<Percentiles>('open', atRate),
      )
    }
  } finally {
    await endAll([...transactors.values()].map(({ child }) => child))
  }
}

async function startAll(
  postgres: BenchPostgres,
  connections: number,
  variants: readonly TransactionVariant[],
): Promise<Map<TransactionVariant, Transactor>> {
  const started = await Promise.all(
    variants.map(async (variant) => {
      const databaseUrl = await postgres.createDatabase(transactorSchema)
      return [variant, await startTransactor({ databaseUrl, variant, connections })] as const
    }),
  )
  return new Map(started)
}

/** Each is without what the one before it is without, too. */
const parts = {
  'as configured by default': {},
  'monitor off': { monitor: { level: 'off' } },
  'no bus': { monitor: { level: 'off' }, bus: false },
  'no note of the start': { monitor: { level: 'off' }, bus: false, intent: false },
  'its statements alone': { variant: 'statements' },
  '(a) plain, BEGIN with the row': { variant: 'plain-two-flights' },
  '(a) plain': { variant: 'plain' },
} as const satisfies Readonly<Record<string, Partial<TransactorConfig>>>

type Part = keyof typeof parts

async function measureParts(context: LaneContext, postgres: BenchPostgres): Promise<Rounds<Part, Turn>> {
  const transactors = new Map<Part, Transactor>()
  try {
    for (const part of Object.keys(parts) as Part[]) {
      const databaseUrl = await postgres.createDatabase(transactorSchema)
      const config: TransactorConfig = {
        databaseUrl,
        variant: 'lockstep',
        connections: compared,
        ...parts[part],
      }
      transactors.set(part, await startTransactor(config))
    }
    const load = { workers: compared, channels: manyChannels }
    await warmUp(postgres, [...transactors.values()], load)
    return await interleave([...transactors.keys()], context.rounds, (part) =>
      turn(postgres, transactors.get(part) as Transactor, { ...load, seconds: context.seconds }),
    )
  } finally {
    await endAll([...transactors.values()].map(({ child }) => child))
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

const openRate = 200
const speed = (turns: readonly Turn[]): number => medianOf(turns, ({ perSecond }) => perSecond)
/** Processor time of Node and Postgres for each operation. */
const cpuUs = ({ cpuUsPerOperation, postgresUsPerOperation }: Turn): number =>
  cpuUsPerOperation + postgresUsPerOperation
const against = (a: readonly Turn[], b: readonly Turn[]): Ratio => ratioOf(a, b, ({ perSecond }) => perSecond)

function figuresOf(
  rounds: Many | undefined,
  { lockstep = [], counter = [] }: Partial<Rounds<TransactionVariant, Turn>>,
): Record<string, number> {
  const figures: Record<string, number> = {}
  for (const peer of ['plain', 'outbox', 'notify'] as const) {
    if (rounds !== undefined)
      figures[`transaction_vs_${peer}`] = rounded(against(rounds.lockstep, rounds[peer]).median)
  }
  if (rounds !== undefined)
    figures['transaction_cpu_vs_plain'] = rounded(ratioOf(rounds.lockstep, rounds.plain, cpuUs).median)
  figures['hot_channel_vs_counter'] = rounded(against(lockstep, counter).median)
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
  'of both, Lockstep takes',
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
    variant === 'lockstep' ? '' : times(ratioOf(lockstep, turns, cpuUs)),
  ])
}

function throughputTables(found: ReadonlyMap<number, Many>): Table[] {
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

import type { OpenRequest } from '../children/receivers.ts'
import type { TransactionLoad, TransactorConfig } from '../children/transactor.ts'
import { Child, endAll } from '../harness/child.ts'
import type { BenchPostgres } from '../harness/database.ts'
import { rounded, type Cell, type Lane, type LaneContext } from '../harness/lane.ts'
import { warmUpOperations } from '../harness/load.ts'
import { interleave, intervalOf, median, medianOf, ratiosOf, type Rounds } from '../harness/rounds.ts'
import { transactorSchema } from '../harness/transactor-schema.ts'
import { startTransactor, turn, warmUp, type Transactor, type Turn } from '../harness/turn.ts'

/** `off` stands here twice: what the second differs by from the first is what the measurement cannot see. */
const variants = ['off', 'off, once more', 'counters', 'sampled', 'full'] as const
type Variant = (typeof variants)[number]
type Of = (turn: Turn) => number

const channels = 100
const workers = 16
/** A few percent are less than one round's noise, and than what differs between two processes of the same kind. */
const leastRounds = 60
const roundsOfASet = 10
const longestSeconds = 0.5
const quickWarmUp = 3_000

export const monitor: Lane = {
  name: 'monitor',
  about: 'cost of each level of the health monitor',
  minutes: 7,
  async run(context) {
    const { rounds, seconds, quick, say } = context
    const postgres = await context.postgres()
    const sets: Rounds<Variant, Turn>[] = []
    const wanted = quick ? rounds : Math.max(rounds, leastRounds)
    for (let left = wanted; left > 0; left -= roundsOfASet) {
      sets.push(await runSet(postgres, { ...context, rounds: Math.min(left, roundsOfASet) }))
      const { ratio, interval } = against(sets, 'full', speed)
      say(
        `monitor, ${wanted - Math.max(0, left - roundsOfASet)} rounds: full is ${ratio} × off (${interval})`,
      )
    }
    return {
      figures: Object.assign({}, ...variants.slice(2).map((variant) => figuresOf(sets, variant))),
      tables: [
        {
          title: 'Cost of the levels of the monitor',
          note:
            `${workers} connections, ${channels} channels with one subscriber each; ${wanted} rounds of ` +
            `${Math.min(seconds, longestSeconds)} s, every ${roundsOfASet} of them with new processes and databases. ` +
            'Ratios are of one round, to `off`; beside their median stands where it lies with a confidence of 95 %. ' +
            'What differs less than the two `off` is not told apart.',
          columns: [
            'level',
            'operations/s',
            'of off',
            '95 %',
            'CPU of Node, µs each',
            'CPU of Postgres, µs each',
            'both, of off',
            '95 %',
          ],
          rows: variants.map((variant) => rowOf(sets, variant)),
        },
      ],
    }
  },
}

const speed: Of = ({ perSecond }) => perSecond
const node: Of = ({ cpuUsPerOperation }) => cpuUsPerOperation
const ofPostgres: Of = ({ postgresUsPerOperation }) => postgresUsPerOperation
const both: Of = (one) => node(one) + ofPostgres(one)

/** Rounds of processes that were started together. */
async function runSet(postgres: BenchPostgres, context: LaneContext): Promise<Rounds<Variant, Turn>> {
  const receivers = await Child.start('receivers.ts', {})
  const transactors = new Map<Variant, Transactor>()
  const all = (): Transactor[] => [...transactors.values()]
  try {
    for (const variant of variants) transactors.set(variant, await start(postgres, receivers, variant))
    await warmUp(postgres, all(), { workers, channels }, context.quick ? quickWarmUp : warmUpOperations)
    const load: TransactionLoad = { workers, channels, seconds: Math.min(context.seconds, longestSeconds) }
    const run = (variant: Variant): Promise<Turn> =>
      turn(postgres, transactors.get(variant) as Transactor, load)
    return await interleave(variants, context.rounds, run)
  } finally {
    await endAll([...all().map(({ child }) => child), receivers])
  }
}

async function start(postgres: BenchPostgres, receivers: Child, variant: Variant): Promise<Transactor> {
  const config: TransactorConfig = {
    databaseUrl: await postgres.createDatabase(transactorSchema),
    variant: 'lockstep',
    connections: workers,
    monitor: { level: variant === 'off, once more' ? 'off' : variant },
  }
  const transactor = await startTransactor(config)
  const port = await transactor.child.ask<number>('port')
  const request: OpenRequest = { wire: 'lockstep', port, count: channels, channel: 'room:c{n}' }
  await receivers.ask('open', request)
  return transactor
}

interface Against {
  readonly ratio: number
  readonly low: number
  readonly high: number
  readonly interval: string
}

function against(sets: readonly Rounds<Variant, Turn>[], variant: Variant, of: Of): Against {
  const groups = sets.map((set) => ratiosOf(set[variant], set.off, of))
  const { low, high } = intervalOf(groups)
  const interval = `${low.toFixed(3)} to ${high.toFixed(3)}`
  return { ratio: rounded(median(groups.flat()), 3), low: rounded(low, 3), high: rounded(high, 3), interval }
}

function figuresOf(sets: readonly Rounds<Variant, Turn>[], variant: Variant): Record<string, number> {
  const { ratio, low, high } = against(sets, variant, speed)
  const name = `monitor_${variant}_vs_off`
  return { [name]: ratio, [`${name}_low`]: low, [`${name}_high`]: high }
}

function rowOf(sets: readonly Rounds<Variant, Turn>[], variant: Variant): Cell[] {
  const turns = sets.flatMap((set) => set[variant])
  const [fast, dear] = [against(sets, variant, speed), against(sets, variant, both)]
  const isFirst = variant === variants[0]
  return [
    variant,
    Math.round(medianOf(turns, speed)),
    fast.ratio,
    isFirst ? '' : fast.interval,
    Math.round(medianOf(turns, node)),
    Math.round(medianOf(turns, ofPostgres)),
    dear.ratio,
    isFirst ? '' : dear.interval,
  ]
}

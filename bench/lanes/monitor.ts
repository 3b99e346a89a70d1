import type { OpenRequest } from '../children/receivers.ts'
import type { TransactionLoad, TransactorConfig } from '../children/transactor.ts'
import { Child, endAll } from '../harness/child.ts'
import { rounded, shown, type Lane } from '../harness/lane.ts'
import type { ClosedResult } from '../harness/load.ts'
import { interleave, medianOf, ratioOf } from '../harness/rounds.ts'
import { transactorSchema } from '../harness/transactor-schema.ts'

const levels = ['off', 'counters', 'sampled', 'full'] as const
const channels = 100
const workers = 16
/** A few percent are less than one round's noise. */
const leastRounds = 15

export const monitor: Lane = {
  name: 'monitor',
  about: 'cost of each level of the health monitor',
  minutes: 3,
  async run(context) {
    const { rounds, seconds, quick, say } = context
    const postgres = await context.postgres()
    const receivers = await Child.start('receivers.ts', {})
    const children = new Map<string, Child>()
    try {
      for (const level of levels) {
        const databaseUrl = await postgres.createDatabase(transactorSchema)
        const config: TransactorConfig = {
          databaseUrl,
          variant: 'lockstep',
          connections: workers,
          monitor: { level },
        }
        const child = await Child.start('transactor.ts', config)
        children.set(level, child)
        const port = await child.ask<number>('port')
        const request: OpenRequest = { wire: 'lockstep', port, count: channels, channel: 'room:c{n}' }
        await receivers.ask('open', request)
      }
      const load: TransactionLoad = { workers, seconds: Math.min(seconds, 1), channels }
      const run = (level: string): Promise<ClosedResult> => (children.get(level) as Child).ask('closed', load)
      for (const level of levels) await run(level)
      const found = await interleave(levels, quick ? rounds : Math.max(rounds, leastRounds), run)
      const against = (level: (typeof levels)[number], of: (result: ClosedResult) => number) =>
        ratioOf(found[level], found.off, of)
      const speed = ({ perSecond }: ClosedResult): number => perSecond
      const cpu = ({ cpuUsPerOperation }: ClosedResult): number => cpuUsPerOperation
      for (const level of levels) say(`monitor ${level}: ${Math.round(medianOf(found[level], speed))}/s`)
      return {
        figures: Object.fromEntries(
          levels
            .slice(1)
            .map((level) => [`monitor_${level}_vs_off`, rounded(against(level, speed).median, 3)]),
        ),
        tables: [
          {
            title: 'Cost of the levels of the monitor',
            note: `${workers} connections, ${channels} channels with one subscriber each, ${found.off.length} rounds of ${load.seconds} s; ratios are of one round.`,
            columns: [
              'level',
              'operations/s',
              'of off',
              'lowest',
              'highest',
              'CPU of Node, µs each',
              'of off',
            ],
            rows: levels.map((level) => {
              const ratio = against(level, speed)
              return [
                level,
                Math.round(medianOf(found[level], speed)),
                ...[ratio.median, ratio.lowest, ratio.highest].map((value) => rounded(value, 3)),
                Math.round(medianOf(found[level], cpu)),
                shown(against(level, cpu).median),
              ]
            }),
          },
        ],
      }
    } finally {
      await endAll([...children.values(), receivers])
    }
  },
}

import type { StallerConfig, StallVariant } from '../children/staller.ts'
import { startCentrifugo, type Centrifugo } from '../harness/centrifugo.ts'
import { Child, endAll } from '../harness/child.ts'
import { query } from '../harness/database.ts'
import type { Percentiles } from '../harness/histogram.ts'
import { rounded, shown, type Cell, type Lane, type LaneContext } from '../harness/lane.ts'
import { warmUpOperations, type CountedLoad } from '../harness/load.ts'
import { centrifugoBinary } from '../harness/machine.ts'
import { interleave, medianOf } from '../harness/rounds.ts'
import { stallSchema } from '../harness/stall-schema.ts'

const names: Readonly<Record<StallVariant, string>> = {
  lockstep: 'Lockstep',
  counters: 'counters, locked at the emit',
  'centrifugo-stream': 'Centrifugo, stream broker',
}
const holdSeconds = 3
const perSecond = 50
const oppositeSeconds = 3
const maxRounds = 5

type Times = Pick<Percentiles, 'p50' | 'p99' | 'max'>

interface Found {
  readonly before: Times
  readonly during: Times
  readonly perSecond: number
  readonly failed: number
  readonly deadlocks: number
}

export const stall: Lane = {
  name: 'stall',
  about: 'delay of one channel while a transaction holds another, and deadlocks of emits in opposite order',
  minutes: 2,
  async run(context) {
    const variants: readonly StallVariant[] = [
      'lockstep',
      'counters',
      ...(centrifugoBinary() === undefined ? [] : (['centrifugo-stream'] as const)),
    ]
    const found = new Map<StallVariant, Found>()
    for (const variant of variants) found.set(variant, await measure(context, variant))
    const own = found.get('lockstep')
    return {
      figures: {
        stall_added_p50_ms: rounded((own?.during.p50 ?? Number.NaN) - (own?.before.p50 ?? Number.NaN)),
        stall_added_p99_ms: rounded((own?.during.p99 ?? Number.NaN) - (own?.before.p99 ?? Number.NaN)),
        deadlocks: own?.deadlocks ?? Number.NaN,
      },
      tables: [
        {
          title: `Channel B while a transaction on channel A is held for ${holdSeconds} s`,
          note: `${perSecond} transactions a second on B, open loop; before the hold, and during it; medians of rounds.`,
          columns: ['variant', 'before: p50 ms', 'p99 ms', 'during: p50 ms', 'p99 ms', 'max ms'],
          rows: [...found].map(([variant, { before, during }]): Cell[] => [
            names[variant],
            ...[before.p50, before.p99, during.p50, during.p99, during.max].map(shown),
          ]),
        },
        {
          title: 'Two channels in opposite order',
          note: `16 connections for ${oppositeSeconds} s; half of the transactions emit to x and y, the others to y and x.`,
          columns: ['variant', 'transactions/s', 'failed', 'deadlocks'],
          rows: [...found].map(([variant, one]): Cell[] => [
            names[variant],
            Math.round(one.perSecond),
            one.failed,
            one.deadlocks,
          ]),
        },
      ],
      missing:
        centrifugoBinary() === undefined ? ['Centrifugo: no binary was given (`CENTRIFUGO_BIN`).'] : [],
    }
  },
}

async function measure(context: LaneContext, variant: StallVariant): Promise<Found> {
  const databaseUrl = await (await context.postgres()).createDatabase(stallSchema)
  let centrifugo: Centrifugo | undefined
  if (variant === 'centrifugo-stream') centrifugo = await startCentrifugo({ mode: 'stream', databaseUrl })
  const config: StallerConfig = { variant, databaseUrl }
  const child = await Child.start('staller.ts', config)
  try {
    const load = { perSecond, seconds: holdSeconds, channel: 'b' }
    await child.ask('warmUp', { workers: 8, operations: warmUpOperations } satisfies CountedLoad)
    const turns = await interleave(
      ['before', 'during'],
      Math.min(context.rounds, maxRounds),
      async (when) => {
        const held = when === 'during' ? child.ask('hold', { channel: 'a', seconds: holdSeconds }) : undefined
        const found = await child.ask<Percentiles>('open', load)
        await held
        return found
      },
    )
    const deadlocksBefore = await deadlocks(databaseUrl)
    const opposite = await child.ask<Pick<Found, 'perSecond' | 'failed'>>('opposite', {
      workers: 16,
      seconds: oppositeSeconds,
    })
    const found = {
      before: medians(turns.before),
      during: medians(turns.during),
      ...opposite,
      deadlocks: (await deadlocks(databaseUrl)) - deadlocksBefore,
    }
    context.say(
      `stall, ${names[variant]}: p99 ${shown(found.before.p99)} ms, ${shown(found.during.p99)} ms while held; ${found.deadlocks} deadlocks`,
    )
    return found
  } finally {
    await endAll([child])
    await centrifugo?.close()
  }
}

function medians(turns: readonly Percentiles[]): Times {
  return {
    p50: medianOf(turns, ({ p50 }) => p50),
    p99: medianOf(turns, ({ p99 }) => p99),
    max: medianOf(turns, ({ max }) => max),
  }
}

/** Counts the deadlocks of a database; sessions report at the latest a second after they have become idle. */
async function deadlocks(databaseUrl: string): Promise<number> {
  await new Promise((resolve) => setTimeout(resolve, 1_500))
  return query(databaseUrl, async (client) => {
    const { rows } = await client.query<{ deadlocks: string }>(
      'select deadlocks from pg_stat_database where datname = current_database()',
    )
    return Number(rows[0]?.deadlocks)
  })
}

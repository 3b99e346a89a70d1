// Two builds turn by turn: that of a revision and that of the working tree. Only ratios within a round count, so that a
// machine which others use, too, serves as well, only with wider intervals.
import type { Build } from '../harness/built.ts'
import type { BenchPostgres } from '../harness/database.ts'
import { shown } from '../harness/lane.ts'
import { interleave, type Rounds } from '../harness/rounds.ts'
import type { ComparedLane, Measured, Runner } from './compared-lane.ts'
import { withOthersShare } from './others-share.ts'
import { compared, hasFallen, leastRatio, leastRounds, sides, type Compared, type Side } from './verdict.ts'

export interface Comparison {
  readonly builds: Readonly<Record<Side, Build>>
  readonly lanes: readonly ComparedLane[]
  readonly rounds: number
  /** Duration of one turn. */
  readonly seconds: number
  readonly postgres: () => Promise<BenchPostgres>
  readonly say: (line: string) => void
}

/**
 * Rounds in one set of processes. Several sets are run, because an effect that all rounds of a set share, such as the
 * layout of its memory, has to count as chance, too.
 */
const roundsOfASet = 5

/** Resolves to whether nothing has fallen. A figure that falls is measured again, and has fallen if it falls again. */
export async function compare(comparison: Comparison): Promise<boolean> {
  const { lanes, rounds, say } = comparison
  const fallen: string[] = []
  say(line('', 'base', 'now', 'ratio', '95 %', 'others'))
  for (const lane of lanes) {
    const first = await measure(comparison, lane)
    if (!first.some(hasFallen)) continue
    const second = lane.exact ? first : await measure(comparison, lane, ', again')
    for (const [place, figure] of second.entries()) {
      if (hasFallen(figure) && hasFallen(first[place] as Compared)) {
        fallen.push(`${lane.name}, ${figure.figure.name}: ${ratioOf(figure)} (${intervalOf(figure)})`)
      }
    }
  }
  say('A ratio above 1 is in favour of the working tree, also where less is better.')
  if (rounds < leastRounds)
    say(`Fewer than ${leastRounds} rounds have no interval: nothing can be said to have fallen.`)
  for (const one of fallen) say(`FELL BELOW ${leastRatio}: ${one}`)
  return fallen.length === 0
}

async function measure(comparison: Comparison, lane: ComparedLane, again = ''): Promise<readonly Compared[]> {
  const sets: Rounds<Side, Measured>[] = []
  const shares: number[] = []
  for (let left = lane.exact ? 1 : comparison.rounds; left > 0; left -= roundsOfASet) {
    sets.push(await runSet(comparison, lane, { rounds: Math.min(left, roundsOfASet), shares }))
  }
  const othersShare = shares.reduce((sum, share) => sum + share, 0) / shares.length
  return lane.figures.map((figure) => {
    const found = compared(figure, sets, lane.exact)
    const values = [shown(found.base), shown(found.now)].map((value) => value.toLocaleString('en'))
    const others = lane.exact || Number.isNaN(othersShare) ? '' : `${Math.round(othersShare * 100)} %`
    comparison.say(
      line(`${lane.name}${again}: ${figure.name}`, ...values, ratioOf(found), intervalOf(found), others),
    )
    return found
  })
}

/** Runs a set with processes and databases of its own. */
async function runSet(
  { builds, postgres, seconds }: Comparison,
  lane: ComparedLane,
  { rounds, shares }: { readonly rounds: number; readonly shares: number[] },
): Promise<Rounds<Side, Measured>> {
  const runners = new Map<Side, Runner>()
  try {
    for (const side of sides) {
      const setting = { build: builds[side], postgres: await postgres(), warmUpSeconds: 20 * seconds }
      runners.set(side, await lane.start(setting))
    }
    return await interleave(sides, rounds, async (side) => {
      const [measured, share] = await withOthersShare(() => (runners.get(side) as Runner).turn(seconds))
      shares.push(share)
      return measured
    })
  } finally {
    await Promise.all([...runners.values()].map((runner) => runner.close()))
  }
}

const ratioOf = ({ ratio }: Compared): string =>
  Number.isNaN(ratio) ? 'not measured' : `${ratio.toFixed(3)} ×`
const intervalOf = ({ low, high }: Compared): string =>
  Number.isFinite(low) ? `${low.toFixed(3)} to ${high.toFixed(3)}` : ''

const widths = [46, 12, 12, 14, 18, 8]
const line = (...cells: readonly string[]): string =>
  cells
    .map((cell, column) => (column === 0 ? cell.padEnd(46) : cell.padStart(widths[column] ?? 0)))
    .join('')
    .trimEnd()

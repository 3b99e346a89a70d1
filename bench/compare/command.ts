import { built } from '../harness/built.ts'
import { startBenchPostgres, type BenchPostgres } from '../harness/database.ts'
import { describeMachine } from '../harness/machine.ts'
import { buildRevision } from '../harness/revision.ts'
import { compare } from './compare.ts'
import type { ComparedLane } from './compared-lane.ts'
import { comparedLanes } from './lanes.ts'

export interface CompareOptions {
  readonly revision: string | undefined
  /** Names with commas between; default all. */
  readonly lanes?: string | undefined
  readonly rounds?: string | undefined
  readonly seconds?: string | undefined
}

export const compareUsage = `npm run bench -- compare REV [--lanes one,many] [--rounds 20] [--seconds 0.5]

Builds the revision REV and the working tree, runs both turn by turn, and prints each figure as a ratio with the interval
that holds it with a confidence of 95 %. Exit code 1: a ratio is below 0.97, its interval excludes 1, and so it was again
when it was measured once more. Exit code 2: it could not be measured.

${comparedLanes.map(({ name, about }) => `  ${name.padEnd(8)} ${about}`).join('\n')}`

/** Resolves to the exit code. */
export async function runCompare(options: CompareOptions): Promise<number> {
  const [lanes, rounds, seconds] = [
    chosen(options.lanes),
    positive(options.rounds ?? '20'),
    positive(options.seconds ?? '0.5'),
  ]
  const { revision } = options
  if (revision === undefined || lanes === undefined || !Number.isInteger(rounds) || Number.isNaN(seconds)) {
    console.error(compareUsage)
    return 2
  }
  let postgres: Promise<BenchPostgres> | undefined
  try {
    const base = await buildRevision(revision)
    const now = await built()
    console.log(
      `base: ${revision}, commit ${base.commit}, build ${base.build.id}; now: the working tree, build ${now.id}`,
    )
    if (!base.samePackages)
      console.log('Its package-lock.json differs: both run with the packages installed here.')
    const { processor, cores, load } = describeMachine(undefined)
    console.log(`${processor}, ${cores} cores, load ${load.join(' ')}; ${rounds} rounds of ${seconds} s`)
    const isFine = await compare({
      builds: { base: base.build, now },
      lanes,
      rounds,
      seconds,
      postgres: () => (postgres ??= startBenchPostgres()),
      say: (line) => console.log(line),
    })
    return isFine ? 0 : 1
  } catch (error) {
    console.error(error instanceof Error ? error.message : error)
    return 2
  } finally {
    await (await postgres?.catch(() => undefined))?.close()
  }
}

const positive = (text: string): number => (Number(text) > 0 ? Number(text) : Number.NaN)

/** `undefined`: one of the names is not that of a lane. */
function chosen(names: string | undefined): readonly ComparedLane[] | undefined {
  if (names === undefined) return comparedLanes
  const found = names.split(',').map((name) => comparedLanes.find((lane) => lane.name === name))
  return found.every((lane) => lane !== undefined) ? found : undefined
}

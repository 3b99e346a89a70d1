// Tests the simulation by planted bugs, as the checker of the fault lanes is tested: each has to break its rule within
// the seeds of CI.
import { plantMutations, type MutationPoint } from '../../src/protocol/mutation-point.ts'
import { regressions } from './regressions.ts'
import type { Rule } from './verdict.ts'
import { simulate } from './world.ts'

interface Planted {
  readonly bug: string
  readonly rule: Rule
  readonly points: readonly MutationPoint[]
  /** The bug shows with runs of tasks. */
  readonly hasRuns?: boolean
}

const bug = (point: MutationPoint, rule: Rule): Planted => ({ bug: point, rule, points: [point] })

export const plantedBugs: readonly Planted[] = [
  // Bugs that no other lane plants: they need an order of events that real processes meet by chance alone.
  bug('renewal counted from its answer', 'lease'),
  bug('flush before its intent', 'fence'),
  bug('flush in a history without its intent', 'fence'),
  bug('intent let go before the outcome', 'fence'),
  bug('events of a history that was left delivered', 'phantom'),
  bug('events before the reply dropped', 'order'),
  bug('recovered into another history', 'order'),
  bug('rollback event not waited for', 'withdrawal'),
  bug('settlement that was held up never tried again', 'quiet'),
  // Bugs that the fault lanes find as well.
  bug('events of a savepoint kept that was rolled back', 'effect'),
  bug('gap skipped', 'order'),
  bug('resume skips one', 'order'),
  bug('resume repeats one', 'order'),
  bug('hole never filled', 'quiet'),
  bug('heads of channels not compared', 'quiet'),
  bug('feeds kept over a change of history', 'quiet'),
  bug('lease lost and not taken again', 'quiet'),
  bug('orphans left open', 'quiet'),
  bug('slot written over while an operation of it is open', 'fence'),
  bug('unheard id not closed', 'outcome'),
  bug('lost COMMIT guessed as rolled back', 'outcome'),
  bug('lost COMMIT guessed as committed', 'outcome'),
  bug('notice kept in memory', 'notice'),
  bug('notice written twice', 'notice'),
  bug('notice sent to another user', 'notice'),
  bug('operation known by its id alone', 'outcome'),
  // Bugs of runs.
  ...(
    [
      ['step committed without the gate', 'runs'],
      ['stop acknowledged and forgotten', 'runs'],
      ['run left active without an owner', 'quiet'],
    ] as const
  ).map(([point, rule]) => ({ ...bug(point, rule), hasRuns: true })),
]

export interface PlantedResult {
  readonly bug: string
  readonly rule: Rule
  /** First seed that broke the rule; undefined when none did. */
  readonly seed: number | undefined
  readonly what: string
  /** Rules that were broken instead of the expected one. */
  readonly others: readonly Rule[]
}

/**
 * Plants each bug whose name holds `only`, and runs seeds until one breaks its rule. A seed of the regressions has to break
 * the rule by itself.
 */
export async function runPlanted(seeds: number, only = ''): Promise<readonly PlantedResult[]> {
  const asked = Array.from({ length: seeds }, (_, index) => index + 1)
  const plays = plantedBugs.map((planted) => ({ planted, seeds: asked }))
  for (const { seed, bug: point, rule } of regressions)
    plays.push({ planted: { ...bug(point, rule), bug: `${point}, seed ${seed}` }, seeds: [seed] })
  const results: PlantedResult[] = []
  for (const play of plays) if (play.planted.bug.includes(only)) results.push(await runOne(play))
  return results
}

async function runOne({
  planted: { bug: name, rule, points, hasRuns = false },
  seeds,
}: {
  readonly planted: Planted
  readonly seeds: readonly number[]
}): Promise<PlantedResult> {
  const others = new Set<Rule>()
  plantMutations(points)
  try {
    for (const seed of seeds) {
      const { violations } = await simulate(seed, hasRuns)
      const found = violations.find((violation) => violation.rule === rule)
      if (found !== undefined) return { bug: name, rule, seed, what: found.what, others: [] }
      for (const violation of violations) others.add(violation.rule)
    }
    return { bug: name, rule, seed: undefined, what: '', others: [...others] }
  } finally {
    plantMutations([])
  }
}

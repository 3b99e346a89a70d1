// Bugs of the kind that this lane is there to catch, planted at mutation points as in test/faults/mutants.ts.
import type { MutationPoint } from '../../src/protocol/mutation-point.ts'
import type { Storm } from './deeds.ts'

interface PlantedBug {
  readonly bug: MutationPoint
  /** Storm that shows it. */
  readonly storm: Storm
}

export const plantedBugs: readonly PlantedBug[] = [
  { bug: 'no turns by user', storm: 'pool' },
  { bug: 'question for outcomes paid as one command', storm: 'busy' },
  { bug: 'users who send far more read as fast while a node is busy', storm: 'busy' },
]

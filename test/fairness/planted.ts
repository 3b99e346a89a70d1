// Bugs of the kind that this lane is there to catch, planted at mutation points as in test/faults/mutants.ts.
import type { MutationPoint } from '../../src/protocol/mutation-point.ts'

export const plantedBugs = [
  'no turns by user',
  'lease over the connections of all statements',
  'question for outcomes paid as one command',
] as const satisfies readonly MutationPoint[]

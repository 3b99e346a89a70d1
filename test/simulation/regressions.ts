import type { MutationPoint } from '../../src/protocol/mutation-point.ts'
import type { Rule } from './verdict.ts'

/** A seed whose schedule once broke a rule. It runs first, whatever seeds are asked for. */
export interface Regression {
  readonly seed: number
  /** Violation that the seed showed. */
  readonly found: string
  /** Bug that was there, planted since: `--planted` shows that the seed still finds it. */
  readonly bug: MutationPoint
  readonly rule: Rule
}

const lostIntent = {
  found: 'a failover between intent and BEGIN lost the intent, and the operation committed without one',
  bug: 'flush in a history without its intent',
  rule: 'fence',
} as const

/**
 * A seed stands for its schedule only as long as the parts and the model draw their chances in the same order: where
 * `--planted` says that one is of no use any more, look for another seed that shows the same.
 */
export const regressions: readonly Regression[] = [
  { seed: 97, ...lostIntent },
  { seed: 171, ...lostIntent },
  { seed: 309, ...lostIntent },
]

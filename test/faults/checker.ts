// Checks the driver's history against the database at the end of the run. Pure: history and oracle in, violations out.
import { checkDeliveries } from './check-deliveries.ts'
import { byEpoch, checkHistories } from './check-histories.ts'
import { checkIsolation } from './check-isolation.ts'
import { checkLog } from './check-log.ts'
import { checkOutcomes } from './check-outcomes.ts'
import { checkRecovery } from './check-recovery.ts'
import { checkRuns } from './check-runs.ts'
import { checkWeight, type Weight } from './check-weight.ts'
import type { HistoryLine } from './history.ts'
import type { Oracle } from './oracle.ts'

export const rules = {
  I1: 'no phantom: what reached anyone as committed stands in the database, with the same payload',
  I2: 'no loss: every committed event reached every subscriber, or it was asked to reload',
  I3: 'no duplicate: each offset reaches a subscriber once; one offset, one payload, for all',
  I4: 'order: offsets rise without a hole, in the order of acknowledgements; one transaction stands together, where its reply says',
  I5: 'not ahead of state: a read after an event sees at least that state',
  I6: 'every outcome reported, once, truly, in the words that its operation has declared',
  I7: 'idempotency: k sends of one id have one effect, and equal replies; another input gets none of them',
  I8: 'isolation: nobody received a byte marked as belonging to another tenant, user or place',
  I9: 'fencing: nothing of a rolled back operation stands in the database, and nothing of an attempt that has lost its run',
  I11: 'recovery: soon after the last fault everyone is at the head, no operation is open, and new ones commit',
  I12: 'containment: no process ended that was not ended on purpose',
  I15: 'runs: states follow the diagram, each step stands once, a stop is kept, and in the end every run has ended',
  I17: 'histories: nobody hears that it missed nothing across a change of the history, or hears of another one',
  I13: 'not vacuous: enough operations, and enough faults of each kind',
} as const

export type Rule = keyof typeof rules

export interface Violation {
  readonly rule: Rule
  readonly what: string
  /** Fewest lines and rows that show the violation. */
  readonly witness: readonly unknown[]
  /** Known limit, written down in docs/reference/fault-lanes.md: shown and counted, but no failure. */
  readonly known?: true
}

export interface CheckInput {
  readonly history: readonly HistoryLine[]
  readonly oracle: Oracle
  /**
   * Databases at the end of each history that another one has replaced, oldest first. Default: there was one history.
   */
  readonly earlier?: readonly Oracle[]
  /** The epoch was renewed for a history that stayed the same: only the fault points of that do so. */
  readonly isEpochRenewed?: boolean
  /** Least amounts of load and faults for the run to count. */
  readonly weight?: Weight
}

/** Checks each delivery against the history that its subscriber was in. */
function checkDeliveriesOf(
  history: readonly HistoryLine[],
  oracles: readonly Oracle[],
): readonly Violation[] {
  const inEpochs = byEpoch(history, oracles[0]?.epoch ?? '')
  return oracles.flatMap((oracle) => checkDeliveries(inEpochs.get(oracle.epoch) ?? [], oracle))
}

/** Finds all violations, in the order of the rules. Takes time in proportion to the history. */
export function check(input: CheckInput): readonly Violation[] {
  const { history, oracle, earlier = [], isEpochRenewed = false, weight } = input
  const found = [
    ...(earlier.length === 0
      ? checkDeliveries(history, oracle)
      : checkDeliveriesOf(history, [...earlier, oracle])),
    ...checkLog(history, oracle),
    ...checkOutcomes(history, oracle, earlier),
    ...(isEpochRenewed ? [] : checkHistories(history, [...earlier, oracle])),
    ...checkIsolation(history),
    ...checkRecovery(history, oracle),
    ...checkRuns(history, oracle.runs),
    ...(weight === undefined ? [] : checkWeight(history, oracle, weight)),
  ]
  const order = Object.keys(rules)
  return found.toSorted((a, b) => order.indexOf(a.rule) - order.indexOf(b.rule))
}

import type { Lane } from '../harness/lane.ts'
import { fanout } from './fanout.ts'
import { transaction } from './transaction.ts'

/** In the order of the documentation. */
export const lanes: readonly Lane[] = [transaction, fanout]

/** What `--quick` runs. */
export const quickLanes: readonly Lane[] = [transaction, fanout]

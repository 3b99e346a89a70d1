import type { Lane } from '../harness/lane.ts'
import { commitToClient } from './commit-to-client.ts'
import { fanout } from './fanout.ts'
import { transaction } from './transaction.ts'

/** In the order of the documentation. */
export const lanes: readonly Lane[] = [transaction, commitToClient, fanout]

/** What `--quick` runs. */
export const quickLanes: readonly Lane[] = [transaction, commitToClient, fanout]

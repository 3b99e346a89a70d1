import type { Lane } from '../harness/lane.ts'
import { commitToClient } from './commit-to-client.ts'
import { fanout } from './fanout.ts'
import { growth } from './growth.ts'
import { monitor } from './monitor.ts'
import { settlements } from './settlements.ts'
import { sockets } from './sockets.ts'
import { stall } from './stall.ts'
import { transaction } from './transaction.ts'

/** Lanes in the order of the documentation. */
export const lanes: readonly Lane[] = [
  transaction,
  commitToClient,
  fanout,
  sockets,
  monitor,
  stall,
  growth,
  settlements,
]

/** Lanes of `--quick`. */
export const quickLanes: readonly Lane[] = [transaction, commitToClient, fanout]

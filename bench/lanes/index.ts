import type { Lane } from '../harness/lane.ts'
import { commitToClient } from './commit-to-client.ts'
import { fanout } from './fanout.ts'
import { growth } from './growth.ts'
import { monitor } from './monitor.ts'
import { sockets } from './sockets.ts'
import { stall } from './stall.ts'
import { transaction } from './transaction.ts'

/** In the order of the documentation. */
export const lanes: readonly Lane[] = [transaction, commitToClient, fanout, sockets, monitor, stall, growth]

/** What `--quick` runs. */
export const quickLanes: readonly Lane[] = [transaction, commitToClient, fanout]

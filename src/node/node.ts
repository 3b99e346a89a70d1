import type { CreateLog } from '../log/index.ts'
import type { Part } from '../transaction/index.ts'
import { composeRooms, type Rooms } from './compose.ts'
import { closeLimitMs, endSteps, reservedMs } from './ending.ts'
import type { LockstepOptions } from './options.ts'
import type { Callables } from './rpc.ts'

/** Node of a cluster: its rooms, and its life from the first start to the end. */
export class LockstepNode<Db> {
  readonly rooms: Rooms<Db>

  /** @throws LS_CONFIG_INVALID */
  constructor(
    options: LockstepOptions<Db>,
    callables: Callables,
    parts: readonly Part<unknown>[],
    createLog?: CreateLog,
  ) {
    this.rooms = composeRooms(options, callables, parts, createLog)
  }

  /** Starts once, also when called again; after a failure the next call tries again. */
  start(): Promise<void> {
    return this.rooms.life.start()
  }

  /** Ends within 1.2 × `drainMs` and ten seconds. */
  close(drainMs: number): Promise<void> {
    const { gateway, life } = this.rooms
    gateway.stopAccepting()
    return life.close(endSteps(this.rooms, drainMs), closeLimitMs(drainMs), reservedMs(drainMs).forOperations)
  }
}

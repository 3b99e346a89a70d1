import type { Deadline } from '../core/index.ts'
import type { EndStep } from './life.ts'
import type { Rooms } from './compose.ts'

/** Longest time that `close` may take, in milliseconds. */
export function closeLimitMs(drainMs: number): number {
  return 1.2 * drainMs + 10_000
}

/** Time that each step of `close` leaves to the steps behind it, in milliseconds. */
export function reservedMs(drainMs: number) {
  // Operations get their time to end, and then two seconds in which they are rolled back and their users are notified.
  const forSockets = 0.2 * drainMs + 7_000
  return {
    forOperations: forSockets + drainMs + 2_200,
    forSockets,
    forRooms: 2_000,
    forHealth: 1_500,
    forLease: 1_000,
    forDatabase: 500,
  }
}

/**
 * The end of a node: first the operations, whose users have to hear of them, then the sockets, then the rooms below, and
 * last the lease and the database. Steps of one list run at once.
 */
export function endSteps<Db>(rooms: Rooms<Db>, drainMs: number): readonly (readonly EndStep[])[] {
  const {
    database,
    coordinator,
    runs,
    drafts,
    gateway,
    revocations,
    hub,
    bus,
    orphans,
    retention,
    rollout,
    health,
    lease,
  } = rooms
  const reserved = reservedMs(drainMs)
  // Spread a little: clients that all come back at once are the next node's storm.
  const closeSockets = ({ leftMs }: Deadline): Promise<void> =>
    gateway.close({ drainMs: drainMs / 5, withinMs: leftMs - reserved.forRooms })
  const closeFeeds = (): void => {
    revocations.close()
    hub.close()
  }
  return [
    [
      { name: 'operations', run: () => coordinator.close(drainMs), reserveMs: reserved.forSockets },
      // Runs end beside the operations: commits of steps are some of them.
      { name: 'runs', run: () => runs.close(drainMs), reserveMs: reserved.forSockets },
    ],
    [{ name: 'drafts', run: () => drafts.end(), reserveMs: reserved.forSockets }],
    [{ name: 'sockets', run: closeSockets, reserveMs: reserved.forRooms }],
    [{ name: 'feeds', run: closeFeeds, reserveMs: reserved.forRooms }],
    [
      { name: 'bus', run: () => bus.close(), reserveMs: reserved.forHealth },
      { name: 'orphans', run: () => orphans.close(), reserveMs: reserved.forHealth },
      { name: 'retention', run: () => retention.close(), reserveMs: reserved.forHealth },
      { name: 'rollout', run: () => rollout.close(), reserveMs: reserved.forHealth },
    ],
    [{ name: 'health', run: () => health.close(), reserveMs: reserved.forLease }],
    // Release the lease, also of a node that could not start after it. A lease that is not given back runs out by itself.
    [{ name: 'lease', run: () => lease.release(), reserveMs: reserved.forDatabase }],
    [{ name: 'database', run: () => database.close(), reserveMs: 0 }],
  ]
}

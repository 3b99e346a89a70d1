import type { Pool, PoolClient } from 'pg'
import { disregard, inTime, LockstepError, systemClock } from '../core/index.ts'
import { noteEnding } from './connection-ending.ts'
import type { DatabaseState } from './database-state.ts'
import { timed, tryRollback, type SendOptions } from './pg-statements.ts'
import { sqlState, toLockstepError } from './sqlstate.ts'

export interface AcquireOptions {
  readonly connect: () => Promise<PoolClient>
  readonly timeoutMs: number
  readonly onError: (error: Error) => void
  readonly state: DatabaseState
}

/** A connection of the pool, and none that was made before the server was found to be read-only. */
export async function acquireClient(
  pool: Pool,
  { connect, timeoutMs, onError, state }: AcquireOptions,
): Promise<PoolClient> {
  try {
    for (;;) {
      // Await an idle connection that has no other waiter directly: it comes at once.
      const isAtHand = pool.idleCount > pool.waitingCount
      const connecting = connect()
      const client = await (isAtHand ? connecting : orExhausted(pool, connecting, timeoutMs))
      if (!state.isOutdated(listenForErrors(client, onError))) return client
      client.release(true)
    }
  } catch (error) {
    state.note(error)
    throw toLockstepError(error, 'LS_DATABASE_UNREACHABLE')
  }
}

/** @throws LS_POOL_EXHAUSTED */
function orExhausted(pool: Pool, connecting: Promise<PoolClient>, timeoutMs: number): Promise<PoolClient> {
  return inTime(systemClock, timeoutMs, connecting, () => {
    // The pool will still hand the client over; give it straight back.
    disregard(connecting.then((client) => client.release()))
    return new LockstepError('LS_POOL_EXHAUSTED', {
      message: `No connection of the pool became free within ${timeoutMs} ms (max ${pool.options.max}).`,
    })
  })
}

/** Monotonic time at which each connection was made, in milliseconds. */
const connectedAt = new WeakMap<PoolClient, number>()

/**
 * pg emits `error` on a connection that breaks while it is checked out, beside failing its statements.
 * @returns when the connection was made, or first seen
 */
export function listenForErrors(client: PoolClient, onError: (error: Error) => void): number {
  const known = connectedAt.get(client)
  if (known !== undefined) return known
  const now = performance.now()
  connectedAt.set(client, now)
  client.on('error', (error) => {
    noteEnding(client, error)
    onError(error)
  })
  return now
}

export interface TransactionOptions extends SendOptions {
  readonly begin: string
  readonly onError: (error: Error) => void
}

export async function inTransaction<T>(
  source: Pick<Pool, 'connect'>,
  { begin, onError, ...sending }: TransactionOptions,
  work: (client: PoolClient) => Promise<T>,
): Promise<T> {
  let client: PoolClient
  try {
    client = await source.connect()
  } catch (error) {
    throw toLockstepError(error, 'LS_DATABASE_UNREACHABLE')
  }
  listenForErrors(client, onError)
  let broken = false
  try {
    await client.query(timed({ text: begin }, sending))
    const result = await work(client)
    await client.query(timed({ text: 'commit' }, sending))
    return result
  } catch (error) {
    // Ignore a refused write of a transaction that is read-only by our own wish: it tells nothing of the database.
    const isOfState = sqlState(error) !== '25006' && sending.state.note(error)
    broken = !(await tryRollback(client, sending)) || isOfState
    throw error
  } finally {
    client.release(broken)
  }
}

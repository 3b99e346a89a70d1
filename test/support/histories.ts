// Databases whose history another one replaces, nodes on them, and subscribers of `room:lobby` with the unmodified
// client. All that a test opens is closed in the opposite order by `close`.
import type { Centrifuge, Subscription } from 'centrifuge'
import pg from 'pg'
import { fromPool, newOperationId } from '../../src/index.ts'
import { createTestDatabase, type TestDatabase } from './database.ts'
import { centrifuge, connected, serve } from './sockets.ts'
import { createWorld, type World, type WorldOptions } from './world.ts'

export interface Position {
  readonly offset: number
  readonly epoch: string
}

export class Histories {
  readonly #cleanups: (() => unknown)[] = []

  onClose(cleanup: () => unknown): void {
    this.#cleanups.push(cleanup)
  }

  async openDatabase(): Promise<TestDatabase> {
    const test = await createTestDatabase()
    this.onClose(() => test.drop())
    return test
  }

  /** Opens a node, which a test may close before all others. */
  async openNode(url: string, options: WorldOptions = {}): Promise<World> {
    const world = await createWorld({ databaseUrl: url, ...options })
    let closed: Promise<void> | undefined
    const close = (): Promise<void> => (closed ??= world.close())
    this.onClose(close)
    return { ...world, close }
  }

  openPool(url: string): pg.Pool {
    const pool = new pg.Pool({ connectionString: url, max: 1 })
    this.onClose(() => pool.end())
    return pool
  }

  /** Opens Lockstep's own view of a database, migrated, over a pool of one connection. */
  async openMigrated(url: string) {
    const pool = this.openPool(url)
    const database = fromPool(pool)
    this.onClose(() => database.close())
    await database.migrate()
    return { pool, database }
  }

  async connect(world: World): Promise<Centrifuge> {
    const served = await serve(world)
    const client = await connected(centrifuge(served.url, 'ben'))
    this.onClose(async () => {
      client.disconnect()
      await served.close()
    })
    return client
  }

  async close(): Promise<void> {
    for (const cleanup of this.#cleanups.splice(0).toReversed()) await cleanup()
  }
}

/** Makes a subscription to `room:lobby`, from the position of a client that was away, if there is one. */
export function lobbyOf(client: Centrifuge, since?: Position): Subscription {
  return client.newSubscription('room:lobby', {
    recoverable: true,
    positioned: true,
    minResubscribeDelay: 10,
    maxResubscribeDelay: 50,
    ...(since === undefined ? {} : { since }),
  })
}

/**
 * Commits a note in the lobby, and returns the position of its event. Calls once more where the first call had noted its
 * start in a history that was left meanwhile: such an operation is rolled back.
 */
export async function addNote(node: World): Promise<Position> {
  const call = () => node.addNote.call({ room: 'lobby', id: newOperationId(), text: 'x' }, { user: 'ada' })
  const first = await call()
  const wasLeft = first.outcome === 'rolled_back' && first.notice.errorCode === 'LS_CONNECTION_LOST'
  const outcome = wasLeft ? await call() : first
  if (outcome.outcome !== 'committed') throw new Error(JSON.stringify(outcome))
  return outcome.positions['room:lobby'] ?? { offset: 0, epoch: '' }
}

/** Ends all connections to the pool's database but the one that asks. */
export const endConnections = (direct: pg.Pool) =>
  direct.query(`select pg_terminate_backend(pid, 5000) from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid()`)

/** Makes the history look as if the server had been promoted since the epoch was made. */
export const promote = (direct: pg.Pool) => direct.query('update lockstep.meta set timeline = timeline + 1')

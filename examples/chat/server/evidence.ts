import type { Lockstep } from 'lockstep'
import type { Evidence } from './shapes.ts'

type Health = Lockstep<unknown>['health']
type Measured = Awaited<ReturnType<Health['dashboard']>>['operations'][number]

/** How old an answer may be: everybody's page asks for each message that it sends. */
const freshMs = 250

/** Measurements of single operations by this node's health monitor, both moments by one clock. */
export class EvidenceReader {
  readonly #health: Health
  #operations: readonly Measured[] = []
  #readAt = Number.NEGATIVE_INFINITY

  constructor(health: Health) {
    this.#health = health
  }

  /**
   * Null for another user's, for what was not measured (in the mode `off`, or when this node was too busy), and for what
   * has been read too long ago: ask again. It waits for nothing, since a query that asks holds a session of the database,
   * and the monitor may need that one.
   */
  of(operationId: string, user: string): Evidence | null {
    this.#refresh()
    const found = this.#operations.find(({ id }) => id === operationId)
    const shown = found?.layers.find(({ layer }) => layer === 'websocket')
    if (found?.user !== user || shown === undefined) return null
    return { outcome: found.outcome, shownAfterMs: shown.gapMs }
  }

  #refresh(): void {
    const now = performance.now()
    if (now - this.#readAt < freshMs) return
    this.#readAt = now
    void this.#health.dashboard().then(
      ({ operations }) => (this.#operations = operations),
      // The database is away; pages ask again.
      () => {},
    )
  }
}

import type { Clock } from '../../core/index.ts'
import { mutationPoint } from '../../protocol/mutation-point.ts'
import type { RunStore, StoredRun } from '../store/run-store.ts'

/** Longest time between two looks for dead nodes, in milliseconds: the lease of a node that comes meanwhile lives no shorter by default. */
const longestWatchMs = 3_000
/** Time to the next look where a dead node was found, whose runs may not have been had, in milliseconds. */
const foundWatchMs = 500
/** A lease is looked at a little after it runs out. */
const marginMs = 20

const firstPauseMs = 500
const longestPauseMs = 5_000

interface LeftOut {
  readonly until: number
  readonly pauseMs: number
}

/**
 * Finds runs for a node to take on. Dead nodes are looked for when a lease may have run out. A run whose gate was held for longer
 * than a claim waits is left out for a while: at the head of the queue it would hold up all others.
 */
export class DueRuns {
  readonly #store: Pick<RunStore, 'due' | 'ofDeadNodes' | 'nextLeaseEndMs'>
  readonly #clock: Clock
  readonly #leftOut = new Map<string, LeftOut>()
  /** Time at which a lease may have run out, in monotonic milliseconds. */
  #watchAt = 0

  constructor(store: Pick<RunStore, 'due' | 'ofDeadNodes' | 'nextLeaseEndMs'>, clock: Clock) {
    this.#store = store
    this.#clock = clock
  }

  /** Time until dead nodes are looked for again, in milliseconds. */
  get watchInMs(): number {
    return Math.max(0, this.#watchAt - this.#clock.monotonic())
  }

  /**
   * Runs of dead nodes come first: behind those that wait, they would have no turn for as long as more are started than nodes
   * can take on.
   * @param limit of those of dead nodes, and of those that wait
   * @param node the lease of the node that asks
   */
  async find(tasks: readonly string[], limit: number, node: string): Promise<readonly StoredRun[]> {
    const question = { tasks, limit, except: this.#exceptions() }
    const [lost, waiting] = await Promise.all([
      this.watchInMs > 0 ? [] : this.#lost(question, node),
      this.#store.due(question),
    ])
    return [...lost, ...waiting]
  }

  /** A claim of the run has waited for too long. */
  leaveOut(run: string): void {
    const pauseMs = Math.min((this.#leftOut.get(run)?.pauseMs ?? firstPauseMs / 2) * 2, longestPauseMs)
    this.#leftOut.set(run, { until: this.#clock.monotonic() + pauseMs, pauseMs })
  }

  /** The run was taken on. */
  taken(run: string): void {
    this.#leftOut.delete(run)
  }

  async #lost(question: Parameters<RunStore['due']>[0], node: string): Promise<readonly StoredRun[]> {
    const rows = mutationPoint('run left active without an owner')
      ? []
      : await this.#store.ofDeadNodes(question)
    const askedAt = this.#clock.monotonic()
    const nextMs = await this.#store.nextLeaseEndMs(node)
    const mostMs = rows.length > 0 || question.except.length > 0 ? foundWatchMs : longestWatchMs
    this.#watchAt = askedAt + Math.min((nextMs ?? longestWatchMs) + marginMs, mostMs)
    return rows
  }

  #exceptions(): readonly string[] {
    const now = this.#clock.monotonic()
    for (const [run, { until }] of this.#leftOut)
      // Forget a run that somebody else has taken on, or that has ended.
      if (now - until > longestPauseMs) this.#leftOut.delete(run)
    return [...this.#leftOut].flatMap(([run, { until }]) => (until > now ? [run] : []))
  }
}

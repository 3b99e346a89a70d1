import { LockstepError, messageOf, Repeat, type Clock, type Logger } from '../../core/index.ts'
import type { RunEndRow } from '../../postgres/index.ts'
import { isFinal } from '../model/run-machine.ts'
import type { RunStore } from '../store/run-store.ts'

interface Waiting {
  readonly resolve: (row: RunEndRow) => void
  readonly reject: (error: unknown) => void
  /** Stops listening to the signal of whoever waits. */
  readonly unlink: () => void
}

/** Tells when runs have ended, whichever node ends them. One statement asks for all that are waited for. */
export class RunEnds {
  readonly #store: Pick<RunStore, 'ends'>
  readonly #waiting = new Map<string, Set<Waiting>>()
  readonly #looks: Repeat

  constructor(store: Pick<RunStore, 'ends'>, clock: Clock, logger: Logger) {
    this.#store = store
    this.#looks = new Repeat({
      clock,
      everyMs: 250,
      work: () => this.#look(),
      onError: (error) =>
        logger.warn({ error: messageOf(error) }, 'the ends of runs were not read this time'),
    })
  }

  /** @throws LS_RUN_UNKNOWN, LS_NODE_STOPPING; the reason of the signal once it aborts */
  async of(run: string, signal?: AbortSignal): Promise<RunEndRow> {
    signal?.throwIfAborted()
    if (this.#looks.isStopped) throw new LockstepError('LS_NODE_STOPPING')
    return new Promise((resolve, reject) => {
      const giveUp = (): void => {
        this.#forget(run, waiting)
        reject(signal?.reason)
      }
      const unlink = (): void => signal?.removeEventListener('abort', giveUp)
      const waiting: Waiting = { resolve, reject, unlink }
      signal?.addEventListener('abort', giveUp, { once: true })
      const all = this.#waiting.get(run)
      if (all === undefined) this.#waiting.set(run, new Set([waiting]))
      else all.add(waiting)
      this.#looks.start(0)
    })
  }

  close(): void {
    this.#looks.stop()
    for (const run of this.#waiting.keys())
      this.#settle(run, ({ reject }) => reject(new LockstepError('LS_NODE_STOPPING')))
  }

  /** @returns whether anything is left to wait for */
  async #look(): Promise<boolean> {
    const asked = [...this.#waiting.keys()]
    const rows = new Map((await this.#store.ends(asked)).map((row) => [row.id, row]))
    for (const run of asked) {
      const row = rows.get(run)
      if (row === undefined)
        this.#settle(run, ({ reject }) => reject(new LockstepError('LS_RUN_UNKNOWN', { details: { run } })))
      else if (isFinal(row.state)) this.#settle(run, ({ resolve }) => resolve(row))
    }
    return this.#waiting.size > 0
  }

  #settle(run: string, tell: (waiting: Waiting) => void): void {
    const all = this.#waiting.get(run) ?? []
    this.#waiting.delete(run)
    for (const waiting of all) {
      waiting.unlink()
      tell(waiting)
    }
  }

  /** Asks no more for a run that nobody waits for. */
  #forget(run: string, waiting: Waiting): void {
    const all = this.#waiting.get(run)
    all?.delete(waiting)
    if (all?.size === 0) this.#waiting.delete(run)
  }
}

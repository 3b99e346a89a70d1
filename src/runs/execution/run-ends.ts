import { LockstepError, messageOf, Repeat, type Clock, type Logger } from '../../core/index.ts'
import type { RunEndRow } from '../../postgres/index.ts'
import { isFinal } from '../model/run-machine.ts'
import type { RunStore } from '../store/run-store.ts'

interface Waiting {
  readonly resolve: (row: RunEndRow) => void
  readonly reject: (error: unknown) => void
}

/** Tells when runs have ended, whichever node ends them. One statement asks for all that are waited for. */
export class RunEnds {
  readonly #store: Pick<RunStore, 'ends'>
  readonly #waiting = new Map<string, Waiting[]>()
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

  /** @throws LS_RUN_UNKNOWN, LS_NODE_STOPPING */
  of(run: string): Promise<RunEndRow> {
    if (this.#looks.isStopped) return Promise.reject(new LockstepError('LS_NODE_STOPPING'))
    return new Promise((resolve, reject) => {
      this.#waiting.set(run, [...(this.#waiting.get(run) ?? []), { resolve, reject }])
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
    const waiting = this.#waiting.get(run) ?? []
    this.#waiting.delete(run)
    waiting.forEach(tell)
  }
}

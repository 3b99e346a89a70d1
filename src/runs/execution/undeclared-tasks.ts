import { messageOf, Repeat, type Clock, type Logger } from '../../core/index.ts'
import type { RunStore } from '../store/run-store.ts'

/** How long a run may be due before its task counts as one that no node declares, in milliseconds. */
const dueForMs = 60_000

export interface UndeclaredTasksOptions {
  readonly store: Pick<RunStore, 'undeclared'>
  readonly clock: Clock
  readonly logger: Logger
  /** Names of the tasks that this node declares. */
  readonly declared: () => readonly string[]
}

/** Tells the operator of runs whose task no node declares, once for each change of them. */
export class UndeclaredTasks {
  readonly #options: UndeclaredTasksOptions
  readonly #looks: Repeat
  #told = '[]'

  constructor(options: UndeclaredTasksOptions) {
    this.#options = options
    const { clock, logger } = options
    this.#looks = new Repeat({
      clock,
      everyMs: dueForMs / 2,
      work: () => this.look(),
      onError: (error) => logger.warn({ error: messageOf(error) }, 'runs without a task were not read'),
    })
  }

  start(): void {
    this.#looks.start()
  }

  close(): Promise<void> {
    return this.#looks.close()
  }

  async look(): Promise<void> {
    const { store, declared, logger } = this.#options
    const names = declared()
    const rows = await store.undeclared(names, dueForMs)
    const found = JSON.stringify(rows)
    if (found === this.#told) return
    this.#told = found
    for (const { task, runs } of rows) {
      const [whose, waits] = runs === 1 ? ['run belongs', 'It waits'] : ['runs belong', 'They wait']
      logger.error(
        { code: 'LS_TASK_UNKNOWN', task, runs, declared: names },
        `LS_TASK_UNKNOWN ${runs} ${whose} to task "${task}", which no node declares (declared: ${names.join(', ')}). ${waits}. Deploy it again.`,
      )
    }
  }
}

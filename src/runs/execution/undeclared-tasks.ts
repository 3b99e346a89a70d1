import { messageOf, Repeat, type Clock, type Logger } from '../../core/index.ts'
import type { RunStore } from '../store/run-store.ts'

/** How long a run may be due, and its task undeclared by any node, before that is told, in milliseconds. */
const forMs = 60_000

export interface UndeclaredTasksOptions {
  readonly store: Pick<RunStore, 'declare' | 'undeclared'>
  readonly clock: Clock
  readonly logger: Logger
  /** Names of the tasks that this node declares. */
  readonly declared: () => readonly string[]
}

/** Says which tasks this node declares, and tells the operator of runs whose task no node does, once for each change of them. */
export class UndeclaredTasks {
  readonly #options: UndeclaredTasksOptions
  readonly #looks: Repeat
  #told = '[]'

  constructor(options: UndeclaredTasksOptions) {
    this.#options = options
    const { clock, logger } = options
    this.#looks = new Repeat({
      clock,
      everyMs: forMs / 3,
      work: () => this.look(),
      onError: (error) => logger.warn({ error: messageOf(error) }, 'runs without a task were not read'),
    })
  }

  start(): void {
    this.#looks.start(0)
  }

  close(): Promise<void> {
    return this.#looks.close()
  }

  async look(): Promise<void> {
    const { store, declared, logger } = this.#options
    const names = declared()
    if (names.length > 0) await store.declare(names)
    const rows = await store.undeclared(forMs)
    const found = JSON.stringify(rows.map(({ task, runs }) => [task, runs]))
    if (found === this.#told) return
    this.#told = found
    for (const { task, runs, declared: others } of rows) {
      const [whose, waits] = runs === 1 ? ['run belongs', 'It waits'] : ['runs belong', 'They wait']
      const listed = others.length === 0 ? 'none' : others.join(', ')
      logger.error(
        { code: 'LS_TASK_UNKNOWN', task, runs, declared: others },
        `LS_TASK_UNKNOWN ${runs} ${whose} to task "${task}", which no node declares (declared: ${listed}). ${waits}. Deploy it again.`,
      )
    }
  }
}

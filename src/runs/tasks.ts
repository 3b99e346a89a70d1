import { isOwnChannel } from '../core/index.ts'
import type { RunnableTask } from './execution/runnable-task.ts'

/** Tasks that this node declares, by name. */
export class Tasks {
  readonly #tasks = new Map<string, RunnableTask>()

  add(task: RunnableTask): void {
    this.#tasks.set(task.name, task)
  }

  readonly names = (): readonly string[] => [...this.#tasks.keys()]

  /** Whether a run of them may be shown on the channel: on that of its user, unless its task names another. */
  mayShowOn(channel: string): boolean {
    const isOwn = isOwnChannel(channel)
    for (const { hasChannel } of this.#tasks.values()) if (hasChannel !== isOwn) return true
    return false
  }

  find(name: string): RunnableTask | undefined {
    return this.#tasks.get(name)
  }
}

import type { RunnableTask } from './execution/runnable-task.ts'

/** Tasks that this node declares, by name. */
export class Tasks {
  readonly #tasks = new Map<string, RunnableTask>()

  add(task: RunnableTask): void {
    this.#tasks.set(task.name, task)
  }

  readonly names = (): readonly string[] => [...this.#tasks.keys()]

  find(name: string): RunnableTask | undefined {
    return this.#tasks.get(name)
  }
}

import { detach, messageOf, TimeLimit, whenSettled, type Logger } from '../../core/index.ts'

export type Hook = () => void | Promise<void>

/** The operation that the hooks belong to, and how it ended. */
export interface HookFacts {
  readonly operationId: string
  readonly operation: string
  readonly ending: 'committed' | 'rolled_back'
}

export interface HookRunnerOptions {
  readonly logger: Logger
  /** How long one hook may take before the next one begins, in milliseconds. Default 10,000. */
  readonly hookLimitMs?: number
}

/**
 * Runs the hooks of operations that have ended, those of one operation one after the other. Nobody waits for them but the
 * end of the node: the outcome stands already, so a hook can change it no more, and what goes wrong is logged.
 */
export class HookRunner {
  readonly #logger: Logger
  readonly #limit: TimeLimit
  /** Operations whose hooks have not all ended. */
  #running = 0
  #onIdle: (() => void)[] = []

  constructor({ logger, hookLimitMs = 10_000 }: HookRunnerOptions) {
    this.#logger = logger
    this.#limit = new TimeLimit(hookLimitMs)
  }

  /** The first hook begins at once. */
  run(hooks: readonly Hook[], facts: HookFacts): void {
    if (hooks.length === 0) return
    this.#running += 1
    const all = this.#runAll(hooks, facts).finally(() => this.#ended())
    detach(all, this.#logger, 'the hooks of an operation')
  }

  /** Settles when no hook runs any more. */
  idle(): Promise<void> {
    if (this.#running === 0) return Promise.resolve()
    return new Promise((resolve) => this.#onIdle.push(resolve))
  }

  #ended(): void {
    this.#running -= 1
    if (this.#running === 0) for (const tell of this.#onIdle.splice(0)) tell()
  }

  async #runAll(hooks: readonly Hook[], facts: HookFacts): Promise<void> {
    for (const hook of hooks) {
      try {
        await this.#runOne(hook, facts)
      } catch (error) {
        this.#logger.error(
          { ...facts, error: messageOf(error) },
          'a hook after the end of an operation failed',
        )
      }
    }
  }

  async #runOne(hook: Hook, facts: HookFacts): Promise<void> {
    const running = hook()
    if (running === undefined) return
    await new Promise<void>((resolve, reject) => {
      const limited = this.#limit.start(() => {
        const limitMs = this.#limit.ms
        this.#logger.error(
          { ...facts, limitMs },
          'a hook after the end of an operation has not ended in time',
        )
        resolve()
      })
      const ended = Promise.resolve(running).finally(() => limited.leave())
      whenSettled(ended, resolve, reject)
    })
  }
}

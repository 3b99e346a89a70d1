import { Deadline, LockstepError, messageOf, type Clock, type Logger } from '../core/index.ts'

/** A step at the end of a node. */
export interface EndStep {
  /** Name of the step, for the log. Steps that stand together run at once. */
  readonly name: string
  readonly run: (deadline: Deadline) => Promise<unknown> | void
  /** Milliseconds that this step leaves to the steps behind it. */
  readonly reserveMs: number
}

/** Life of one node: its rooms start in the order in which they were made, and end under one deadline. */
export class NodeLife {
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #starts: (() => void | Promise<void>)[] = []
  #started: Promise<void> | undefined
  /** Reason why the last start failed, as it was logged. */
  #startProblem: string | undefined
  #closed: Promise<void> | undefined

  constructor(clock: Clock, logger: Logger) {
    this.#clock = clock
    this.#logger = logger
  }

  /** True from the call of `close` on. */
  get isClosing(): boolean {
    return this.#closed !== undefined
  }

  /** @throws LS_CONFIG_INVALID from the call of `start` on, until it has failed */
  assertNotBegun(pattern: string): void {
    if (this.#started === undefined) return
    throw new LockstepError('LS_CONFIG_INVALID', {
      message: `Channel "${pattern}" is declared after the node has begun to start, so that whoever asked for it before would have been refused for good. Declare it before lockstep.start() and before the first operation.`,
    })
  }

  /** @param step begins a room, after those of all rooms that were made before it */
  onStart(step: () => void | Promise<void>): void {
    this.#starts.push(step)
  }

  /** Starts once, also when called again; after a failure the next call tries again, as the database may only have been late. */
  readonly start = (): Promise<void> => {
    this.#started ??= this.#start().catch((error: unknown) => {
      this.#started = undefined
      this.#tellStartProblem(error)
      throw error
    })
    return this.#started
  }

  /**
   * Ends once, also when called again. Waits for a start that is under way, as long as the steps leave it.
   * @param steps in their order; those of one list run at once
   * @param limitMs longest time for all of them, in milliseconds
   * @param startReserveMs milliseconds that the wait for a start leaves to the steps
   */
  close(steps: readonly (readonly EndStep[])[], limitMs: number, startReserveMs: number): Promise<void> {
    this.#closed ??= this.#close(steps, limitMs, startReserveMs)
    return this.#closed
  }

  async #start(): Promise<void> {
    for (const begin of this.#starts) {
      // `close` does not wait for ever for a start that hangs, and what begins behind it would never end.
      if (this.isClosing) throw new LockstepError('LS_NODE_STOPPING')
      await begin()
    }
  }

  async #close(
    steps: readonly (readonly EndStep[])[],
    limitMs: number,
    startReserveMs: number,
  ): Promise<void> {
    const deadline = new Deadline(this.#clock, limitMs)
    const unfinished: string[] = []
    const end = async ({ name, run, reserveMs }: EndStep): Promise<void> => {
      try {
        const work = Promise.resolve(run(deadline))
        if (!(await deadline.wait(work, reserveMs))) unfinished.push(name)
      } catch (error) {
        this.#logger.warn({ error, step: name }, 'a part of the node was not closed cleanly')
      }
    }
    const started = this.#started?.catch(() => {}) ?? Promise.resolve()
    await end({ name: 'start', run: () => started, reserveMs: startReserveMs })
    for (const together of steps) await Promise.all(together.map(end))
    if (unfinished.length > 0)
      this.#logger.warn({ unfinished }, 'the node was closed before all of its parts had ended')
  }

  /** Logs once for each reason: every use of a node that could not start tries again. */
  #tellStartProblem(error: unknown): void {
    const problem = messageOf(error)
    if (this.isClosing || this.#startProblem === problem) return
    this.#startProblem = problem
    this.#logger.error({ error }, `the node could not start, and tries again at its next use: ${problem}`)
  }
}

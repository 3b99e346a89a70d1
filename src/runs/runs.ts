import { LockstepError, messageOf, type Clock, type Logger } from '../core/index.ts'
import { mutationPoint } from '../protocol/mutation-point.ts'
import type { NodeLease } from '../cluster/index.ts'
import { runEvents } from '../protocol/index.ts'
import type { RunEndRow } from '../postgres/index.ts'
import type { EndedOperation } from '../transaction/index.ts'
import type { Execution } from './execution/execution.ts'
import { Executor } from './execution/executor.ts'
import type { RunnableTask } from './execution/runnable-task.ts'
import { RunEnds } from './execution/run-ends.ts'
import type { StepOperation } from './execution/step-commit.ts'
import type { StepDraftPorts } from './execution/step-draft-ports.ts'
import { UndeclaredTasks } from './execution/undeclared-tasks.ts'
import { effectOfStop } from './model/run-decisions.ts'
import { RunCalls, type RunCallsOptions } from './run-calls.ts'
import { RunStore, type RunStoreOptions } from './store/run-store.ts'
import type { RunsPart } from './store/runs-part.ts'
import { Tasks } from './tasks.ts'

/** A push to the channel of a run, without an offset. */
export interface RunPush {
  readonly channel: string
  readonly type: string
  readonly operationId: string
  /** JSON text. */
  readonly data: string
  readonly at: Date
}

export interface RunsOptions<Db> extends RunStoreOptions, Omit<RunCallsOptions<Db>, 'store' | 'tasks'> {
  readonly clock: Clock
  readonly logger: Logger
  readonly lease: NodeLease
  readonly part: RunsPart
  readonly drafts: StepDraftPorts
  /** Runs that this node has at once. */
  readonly concurrency: number
  readonly push: (event: RunPush) => void
}

/** A stop waits this long for steps that are in their commit, in milliseconds. */
const stopWaitMs = 5_000

/** Runs of one node: which it has, how they end, and who waits for that. */
export class Runs<Db> {
  readonly part: RunsPart
  readonly #tasks = new Tasks()
  /** Calls of clients. */
  readonly calls: RunCalls<Db>
  readonly #store: RunStore
  readonly #executor: Executor
  readonly #ends: RunEnds
  readonly #undeclared: UndeclaredTasks
  readonly #options: RunsOptions<Db>

  constructor(options: RunsOptions<Db>) {
    const { part, clock, logger, lease, concurrency } = options
    this.#options = options
    this.part = part
    const store = new RunStore(options)
    const tasks = this.#tasks
    this.#store = store
    this.calls = new RunCalls({ ...options, store, tasks })
    this.#ends = new RunEnds(store, clock, logger)
    this.#undeclared = new UndeclaredTasks({ store, clock, logger, declared: tasks.names })
    this.#executor = new Executor({
      store,
      tasks,
      lease,
      clock,
      logger,
      concurrency,
      ports: {
        store,
        part,
        drafts: options.drafts,
        clock,
        logger,
        run: (operation) => this.#runStep(operation),
        showProgress: (execution, json) => this.#showProgress(execution, json),
      },
    })
    part.onStarted(() => this.#executor.look(0))
    part.onStopped((run) => this.#executor.stopped(run))
    lease.onRenewed((heard) => this.#executor.heard(heard))
  }

  /** Runs that this node has now. */
  get openCount(): number {
    return this.#executor.openCount
  }

  declare(task: RunnableTask): void {
    this.#tasks.add(task)
    this.#executor.look(0)
  }

  /** Whether a run may be shown on the channel. */
  mayShowOn(channel: string): boolean {
    return this.#tasks.mayShowOn(channel)
  }

  start(): void {
    this.#executor.start()
    if (this.#options.concurrency > 0) this.#undeclared.start()
  }

  /** The history of the database is another one: every run is claimed anew. */
  historyChanged(): void {
    this.#executor.loseAll()
  }

  /** @throws LS_RUN_UNKNOWN, LS_STATEMENT_TIMEOUT, database errors */
  async stop(id: string, task: string): Promise<void> {
    const { lease } = this.#options
    const options = { node: lease.node, waitMs: stopWaitMs }
    for (;;) {
      const run = await this.#store.read(id)
      if (run === undefined || run.task !== task) {
        throw new LockstepError('LS_RUN_UNKNOWN', { message: `Task "${task}" has no run ${id}.` })
      }
      const effect = effectOfStop(run.facts)
      if (effect === 'hasEnded') return
      const { attempt, deaths, isStopRequested } = run.facts
      const isKnown = mutationPoint('stop acknowledged and forgotten') ? effect === 'asks' : isStopRequested
      const changed = isKnown
        ? { isChanged: true }
        : effect === 'asks'
          ? await this.#store.requestStop(run, options)
          : await this.#store.change(run, { inputs: ['stop'], attempt, deaths, pauseMs: 0 }, options)
      // The run was another by then: its new state says what a stop does.
      if (changed?.isChanged === false) continue
      this.#executor.stopped(id)
      return
    }
  }

  ended(id: string, signal?: AbortSignal): Promise<RunEndRow> {
    return this.#ends.of(id, signal)
  }

  async close(drainMs: number): Promise<void> {
    this.#ends.close()
    await Promise.all([this.#executor.close(drainMs), this.#undeclared.close()])
  }

  #runStep({ id, name, user, timeoutMs, signal, work }: StepOperation): Promise<EndedOperation<unknown>> {
    return this.#options.run({
      id,
      name,
      since: this.#options.earliestArrival(),
      user,
      inputHash: name,
      rollback: {},
      // The run itself says that something was begun: whoever takes it over goes on with it.
      intent: false,
      isQuiet: true,
      timeoutMs,
      signal,
      work,
    })
  }

  async #showProgress({ id, attempt, claimed }: Execution, json: string): Promise<void> {
    const { clock, lease, logger, push } = this.#options
    // Another attempt may have the run once the lease is not known to hold.
    if (lease.node !== claimed.node || lease.state !== 'held') return
    // Keep it first: a feed that opens meanwhile reads it, or hears the push.
    try {
      await this.#store.saveProgress({ run: id, attempt, node: claimed.node }, json)
    } catch (error) {
      logger.warn({ run: id, error: messageOf(error) }, 'the progress of a run was not kept this time')
    }
    push({
      channel: claimed.run.channel,
      type: runEvents.progress,
      operationId: id,
      data: `{"runId":${JSON.stringify(id)},"progress":${json}}`,
      at: new Date(clock.now()),
    })
  }
}

import { mutationPoint } from '../../protocol/mutation-point.ts'
import { faultPoint } from '../../core/fault-point.ts'
import { detach, isLockstepError, messageOf, waitAtMost, type Clock, type Logger } from '../../core/index.ts'
import type { LeaseState } from '../../cluster/index.ts'
import type { OwnedRun } from '../../postgres/index.ts'
import { changeByClaim, changeByRelease } from '../model/run-decisions.ts'
import { runNotice } from '../store/run-events.ts'
import type { RunStore, StoredRun } from '../store/run-store.ts'
import { CommittedSteps } from './committed-steps.ts'
import { Execution } from './execution.ts'
import { DueRuns } from './due-runs.ts'
import { RunEnding } from './run-ending.ts'
import type { ClaimedRun, RunnableTask } from './runnable-task.ts'
import { RunSteps } from './steps.ts'
import type { StepPorts } from './step-tries.ts'

export interface ExecutorOptions {
  readonly ports: StepPorts
  readonly store: RunStore
  readonly tasks: { names(): readonly string[]; find(name: string): RunnableTask | undefined }
  readonly lease: { readonly node: string; readonly state: LeaseState }
  readonly clock: Clock
  readonly logger: Logger
  /** Runs that this node has at once. 0: none. */
  readonly concurrency: number
  /** Time between two looks for runs to take on, in milliseconds. Default 500. */
  readonly everyMs?: number
}

/** Answer to a renewal of the lease. */
export interface HeardRuns {
  readonly node: string
  /** Time at which the renewal was asked for, in monotonic milliseconds. */
  readonly askedAt: number
  readonly runs: readonly OwnedRun[]
}

/** Runs that one look takes on. */
const mostAtOnce = 16
/** Claims wait this long for the steps of a run that are in their commit, in milliseconds. */
const claimWaitMs = 250

/** Takes runs on, and sees each attempt to its end. */
export class Executor {
  readonly #options: ExecutorOptions
  readonly #endings: RunEnding
  readonly #due: DueRuns
  readonly #executions = new Map<string, Execution>()
  /** Attempts of this node, and the look for more. */
  readonly #work = new Set<Promise<void>>()
  #claiming = 0
  /** Time at which the last claim was answered, in monotonic milliseconds. */
  #claimedAt = 0
  #next: { readonly at: number; readonly cancel: () => void } | undefined
  #isLooking = false
  #isAskedFor = false
  #isClosed = false
  #isGivenUp = false

  constructor(options: ExecutorOptions) {
    this.#options = options
    this.#endings = new RunEnding(options)
    this.#due = new DueRuns(options.store, options.clock)
  }

  /** Runs that this node has now. */
  get openCount(): number {
    return this.#executions.size
  }

  start(): void {
    if (this.#options.concurrency > 0) this.look(0)
  }

  /** Looks for runs to take on after `delayMs` at the latest. */
  look(delayMs: number): void {
    const { clock, concurrency } = this.#options
    if (this.#isClosed || concurrency === 0) return
    if (this.#isLooking && delayMs === 0) this.#isAskedFor = true
    const at = clock.monotonic() + delayMs
    if (this.#next !== undefined && this.#next.at <= at) return
    this.#next?.cancel()
    const cancel = clock.after(delayMs, () => {
      this.#next = undefined
      // A look is waited for by `close`: what it claims is given back.
      this.#track(this.#look(), 'the look for runs')
    })
    this.#next = { at, cancel }
  }

  /** A stop of a run was acknowledged here. */
  stopped(run: string): void {
    this.#executions.get(run)?.stop()
  }

  /** Compares the runs of this node with what a renewal of its lease has told. */
  heard({ node, askedAt, runs }: HeardRuns): void {
    const told = new Map(runs.map((run) => [run.id, run]))
    for (const execution of this.#executions.values()) {
      if (execution.claimed.node !== node) execution.lose()
      else if (execution.since < askedAt) {
        const owned = told.get(execution.id)
        if (owned?.attempt !== execution.attempt) execution.lose()
        else if (owned.stop) execution.stop()
      }
    }
    if (this.#claiming > 0 || this.#claimedAt >= askedAt) return
    for (const { id, attempt } of runs) {
      if (this.#executions.has(id)) continue
      detach(
        this.#handBack(id, attempt, node),
        this.#options.logger,
        'a run that this node has and does not know',
      )
    }
  }

  /** The history is another one: all runs are claimed anew. */
  loseAll(): void {
    for (const execution of this.#executions.values()) execution.lose()
  }

  /** Takes nothing more on. Steps that commit may end, then the runs are given back. */
  async close(drainMs: number): Promise<void> {
    this.#isClosed = true
    this.#next?.cancel()
    for (const execution of this.#executions.values()) execution.drain()
    await this.#idle(drainMs)
    for (const execution of this.#executions.values()) execution.finish({ kind: 'released', pauseMs: 0 })
    await this.#idle(2_000)
    this.#isGivenUp = true
  }

  #idle(timeoutMs: number): Promise<void> {
    return waitAtMost(this.#options.clock, timeoutMs, Promise.all(this.#work))
  }

  async #look(): Promise<void> {
    if (this.#isLooking || this.#isClosed) return
    const { everyMs = 500, logger } = this.#options
    this.#isLooking = true
    this.#isAskedFor = false
    let delayMs = everyMs
    try {
      if (await this.#claimDue()) delayMs = 0
    } catch (error) {
      logger.warn({ error: messageOf(error) }, 'runs were not taken on this time')
    }
    this.#isLooking = false
    const { watchInMs } = this.#due
    if (watchInMs > 0) delayMs = Math.min(delayMs, watchInMs)
    this.look(this.#isAskedFor ? 0 : delayMs)
  }

  /** @returns whether there may be more to take on */
  async #claimDue(): Promise<boolean> {
    const { tasks, lease, concurrency } = this.#options
    const names = tasks.names()
    const free = Math.min(concurrency - this.#executions.size, mostAtOnce)
    if (names.length === 0 || free <= 0 || lease.state !== 'held') return false
    const due = await this.#due.find(names, free, lease.node)
    const taken = await Promise.all(due.slice(0, free).map((run) => this.#claim(run)))
    return due.length >= free && taken.some(Boolean)
  }

  /** @returns whether the run is another now */
  async #claim(run: StoredRun): Promise<boolean> {
    const { store, tasks, lease, clock, logger } = this.#options
    const task = tasks.find(run.task)
    const change = changeByClaim(run.facts, run.isOwnerDead)
    if (task === undefined || change === undefined || this.#executions.has(run.id)) return false
    const { node } = lease
    const code =
      change.inputs[0] === 'die'
        ? 'LS_RUN_DEAD'
        : change.inputs[0] === 'expire'
          ? 'LS_RUN_TIMEOUT'
          : undefined
    const notice = code && runNotice(run, code, task.failure)
    this.#claiming += 1
    try {
      await faultPoint('runs.before-claim')
      const claimed = await store.claim(run, change, { node, notice, waitMs: claimWaitMs })
      await faultPoint('runs.after-claim')
      if (claimed === undefined || !claimed.isChanged) return false
      this.#due.taken(run.id)
      const { attempt, deaths, state } = claimed.run.facts
      if (run.node !== null) {
        const facts = { run: run.id, task: run.task, attempt, deaths, state, from: run.node }
        logger.warn(facts, 'a run of a dead node was taken over')
      }
      if (change.pauseMs > 0) this.look(change.pauseMs)
      if (state === 'running')
        this.#track(
          this.#execute({ run: claimed.run, task, node, isTakenOver: run.node !== null }, clock.monotonic()),
          'an attempt at a run',
        )
      return true
    } catch (error) {
      if (isLockstepError(error, 'LS_STATEMENT_TIMEOUT')) this.#due.leaveOut(run.id)
      logger.warn(
        { run: run.id, task: run.task, error: messageOf(error) },
        'a run was not taken on this time',
      )
      return false
    } finally {
      this.#claiming -= 1
      this.#claimedAt = clock.monotonic()
    }
  }

  #track(work: Promise<void>, what: string): void {
    const tracked = work.finally(() => this.#work.delete(tracked))
    this.#work.add(tracked)
    detach(tracked, this.#options.logger, what)
  }

  async #execute(claimed: ClaimedRun, since: number): Promise<void> {
    const { clock, lease } = this.#options
    const { run, node } = claimed
    const execution = new Execution(clock, claimed, since)
    this.#executions.set(run.id, execution)
    if (this.#isClosed) execution.drain()
    try {
      detach(this.#begin(execution), this.#options.logger, 'the beginning of a run')
      const end = await execution.ended
      await execution.closing()
      await this.#endings.write(execution, end, () => this.#isGivenUp || lease.node !== node)
      this.look(end.kind === 'released' ? end.pauseMs : 0)
    } finally {
      this.#executions.delete(run.id)
    }
  }

  /** Reads the steps behind the COMMIT of the claim, when no step of an attempt before can commit any more. */
  async #begin(execution: Execution): Promise<void> {
    const { store, ports, logger } = this.#options
    const { run, task } = execution.claimed
    try {
      const { attempt } = execution
      const [rows, tries, previous] = await Promise.all([
        store.steps(run.id),
        store.tries(run.id),
        attempt > 1 ? ports.drafts.previous(run.id, attempt) : undefined,
      ])
      if (previous !== undefined) execution.previous = previous
      const step = new RunSteps(execution, ports, new Map(tries.map((row) => [row.name, row])))
      const { input, user } = run
      const context = { input, user, runId: run.id, step, signal: execution.signal }
      execution.closing = () => step.close()
      const known = mutationPoint('committed steps not read by the next attempt') ? [] : rows
      execution.begin(new CommittedSteps(known), () => task.run(context))
    } catch (error) {
      const facts = { run: run.id, task: task.name, error: messageOf(error) }
      logger.warn(facts, 'the steps of a run were not read')
      execution.finish({ kind: 'released', pauseMs: 1_000 })
    }
  }

  /** A claim whose answer was lost: its code has not begun, and counts nothing. */
  async #handBack(id: string, attempt: number, node: string): Promise<void> {
    const { store } = this.#options
    const run = await store.read(id)
    if (run === undefined || run.node !== node || run.facts.attempt !== attempt || this.#executions.has(id))
      return
    await store.change(run, changeByRelease(run.facts, 0), { node, waitMs: claimWaitMs })
    this.look(0)
  }
}

import { setMaxListeners } from 'node:events'
import { LockstepError, whenSettled, type Channel, type Clock, type ErrorCode } from '../../core/index.ts'
import { previousDrafts, type PreviousDrafts } from '../../drafts/index.ts'
import { toKept } from '../model/kept-value.ts'
import { CommittedSteps } from './committed-steps.ts'
import type { ClaimedRun } from './runnable-task.ts'

/** How one attempt at a run has ended on this node. */
export type ExecutionEnd =
  | { readonly kind: 'returned'; readonly result: string | null }
  | { readonly kind: 'failed'; readonly error: unknown }
  | { readonly kind: 'expired' }
  | { readonly kind: 'stopped' }
  /** The run is given back, to be claimed after the pause. */
  | { readonly kind: 'released'; readonly pauseMs: number }
  /** Another attempt has the run, or is going to: nothing of this one counts any more. */
  | { readonly kind: 'lost' }

/** How long work that is to stop may go on, in milliseconds. Its value counts for nothing afterwards. */
const stopGraceMs = 10_000

/**
 * A promise that never settles: what is left of code that counts for nothing any more. A new one for each waiter, since one
 * for all would keep every waiter in memory.
 */
export function never(): Promise<never> {
  return new Promise<never>(() => {})
}

/**
 * Attempt at a run, on this node: whether its steps may go on, and how it ends. The first end counts. Code that still
 * runs afterwards waits for ever at its next step, since an error could be caught there, and the code go on.
 */
export class Execution {
  readonly claimed: ClaimedRun
  /** Time at which the run was known to be this node's, in monotonic milliseconds. */
  readonly since: number
  readonly ended: Promise<ExecutionEnd>
  /** Ends what goes on beside the code, before the end of the attempt is written. */
  closing: () => Promise<void> = () => Promise.resolve()
  /** Channel on which the task shows this run; undefined where it names none. */
  channel: Channel | undefined
  /** Drafts that the steps have shown in attempts before. */
  previous: PreviousDrafts = previousDrafts([])
  readonly #clock: Clock
  readonly #controller = new AbortController()
  /** Interrupts commits that were not told of a stop, and commits that were. */
  readonly #commits = { untold: new AbortController(), told: new AbortController() }
  #committed = new CommittedSteps([])
  #resolve!: (end: ExecutionEnd) => void
  #end: ExecutionEnd | undefined
  #isStopped: boolean
  #isDraining = false
  #inFlight = 0
  #ofCode: ExecutionEnd | undefined
  readonly #timers: (() => void)[] = []

  constructor(clock: Clock, claimed: ClaimedRun, since: number) {
    this.#clock = clock
    this.claimed = claimed
    this.since = since
    this.#isStopped = claimed.run.facts.isStopRequested
    this.ended = new Promise((resolve) => (this.#resolve = resolve))
    // The task's code may listen as often as it likes; Node takes more than ten listeners for a leak.
    setMaxListeners(0, this.#controller.signal, this.#commits.untold.signal, this.#commits.told.signal)
    const { leftMs } = claimed.run.facts
    if (leftMs !== null) this.#timers.push(clock.after(Math.max(0, leftMs), () => this.#expire()))
  }

  get id(): string {
    return this.claimed.run.id
  }

  get attempt(): number {
    return this.claimed.run.facts.attempt
  }

  /** The channel for a draft of a step. @throws LS_DRAFT_NOWHERE */
  readonly channelOf = (draft: string): Channel => {
    if (this.channel !== undefined) return this.channel
    throw new LockstepError('LS_DRAFT_NOWHERE', {
      message: `Task "${this.claimed.task.name}" has no channel, so nobody could see draft "${draft}". Add channel: ({ input }) => … with drafts: { ${draft}: … }.`,
    })
  }

  /** Text that a step had shown when the node of the last attempt died, where the task keeps that. */
  keptOf(step: string): string | undefined {
    const { run, isTakenOver } = this.claimed
    return isTakenOver && run.facts.onNodeDeath === 'keep' ? this.previous.onlyText(step) : undefined
  }

  /** Steps that have committed, once they have been read. */
  get committed(): CommittedSteps {
    return this.#committed
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  /**
   * Signal that interrupts a commit once it counts for nothing: when the attempt has ended, or by a stop that it was not told
   * of. A node that stops lets commits end.
   */
  commitSignal(isStopped: boolean): AbortSignal {
    return (isStopped ? this.#commits.told : this.#commits.untold).signal
  }

  /** A stop of the run was acknowledged. */
  get isStopped(): boolean {
    return this.#isStopped
  }

  get isOver(): boolean {
    return this.#end !== undefined
  }

  /** The code has returned, or thrown. */
  get hasCodeEnded(): boolean {
    return this.#ofCode !== undefined
  }

  /** Whether a step may begin. */
  get mayBegin(): boolean {
    return !this.isOver && !this.#isStopped && !this.#isDraining
  }

  /** Whether what the work of a step returns now may be committed: not what it returns because its node stops. */
  get mayCommit(): boolean {
    return !this.isOver && !this.#isDraining
  }

  /** Whether no step but the one that asks is under way. */
  get isAlone(): boolean {
    return this.#inFlight === 1
  }

  /** Runs the code of the task, unless the attempt has ended. Whatever the code does, the attempt ends. */
  begin(committed: CommittedSteps, run: () => Promise<unknown>): void {
    const { task } = this.claimed
    this.#committed = committed
    if (!this.mayBegin) return this.#look()
    whenSettled(
      called(run),
      (result) => this.#codeEnded(this.#endOf(result, `Task "${task.name}"`)),
      (error: unknown) => this.#codeEnded({ kind: 'failed', error }),
    )
  }

  /** A step is under way until it calls `leave`. */
  enter(): void {
    this.#inFlight += 1
  }

  leave(): void {
    this.#inFlight -= 1
    this.#look()
  }

  stop(): void {
    if (this.#isStopped || this.isOver) return
    this.#isStopped = true
    this.#abort('LS_RUN_STOPPED')
    this.#commits.untold.abort(new LockstepError('LS_RUN_STOPPED'))
    this.#timers.push(this.#clock.after(stopGraceMs, () => this.finish({ kind: 'stopped' })))
    this.#look()
  }

  /** The node stops: steps that are in their commit may end it, all other work is left to the next attempt. */
  drain(): void {
    this.#isDraining = true
    this.#abort('LS_NODE_STOPPING')
    this.#look()
  }

  lose(): void {
    this.finish({ kind: 'lost' })
  }

  /** Ends the attempt, unless it has ended. */
  finish(end: ExecutionEnd): void {
    if (this.#end !== undefined) return
    this.#end = end
    for (const cancel of this.#timers) cancel()
    // Code that has come to its own end is not stopped: what listens may have begun something that is to go on.
    if (end.kind !== 'returned' && end.kind !== 'failed')
      this.#abort(end.kind === 'stopped' ? 'LS_RUN_STOPPED' : 'LS_RUN_LOST')
    const vain = new LockstepError('LS_RUN_LOST')
    this.#commits.untold.abort(vain)
    this.#commits.told.abort(vain)
    this.#resolve(end)
  }

  #expire(): void {
    this.#abort('LS_RUN_TIMEOUT')
    this.finish({ kind: 'expired' })
  }

  #codeEnded(end: ExecutionEnd): void {
    this.#ofCode = end
    this.#look()
  }

  #endOf(result: unknown, who: string): ExecutionEnd {
    try {
      const { json } = toKept(result, who)
      const [forgotten] = this.committed.unasked
      if (forgotten !== undefined) throw this.codeChanged(forgotten, 'has returned')
      return { kind: 'returned', result: json }
    } catch (error) {
      return { kind: 'failed', error }
    }
  }

  /** @param step a committed step that the code has not asked for. @param instead what it has done */
  codeChanged(step: string, instead: string): LockstepError {
    const { task } = this.claimed
    return new LockstepError('LS_RUN_CODE_CHANGED', {
      message:
        `Run ${this.id} of task "${task.name}" has committed step "${step}", which the code does not ask for any more: it ${instead}. ` +
        'Give a step that means something else another name, and keep those that open runs have committed.',
    })
  }

  /** Ends the attempt once no step is under way, where it is to end. */
  #look(): void {
    if (this.#inFlight > 0 || this.isOver) return
    if (this.#isStopped) this.finish({ kind: 'stopped' })
    // Code that has come to an end because its node stops has not come to its own.
    else if (this.#isDraining) this.finish({ kind: 'released', pauseMs: 0 })
    else if (this.#ofCode !== undefined) this.finish(this.#ofCode)
  }

  #abort(code: ErrorCode): void {
    this.#controller.abort(new LockstepError(code))
  }
}

async function called(run: () => Promise<unknown>): Promise<unknown> {
  return run()
}

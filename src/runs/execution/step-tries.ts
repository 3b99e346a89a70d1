import { AsyncLocalStorage } from 'node:async_hooks'
import {
  isLockstepError,
  LockstepError,
  messageOf,
  pause,
  refusalIn,
  type Clock,
  type Logger,
} from '../../core/index.ts'
import type { Part } from '../../transaction/index.ts'
import { fromKept } from '../model/kept-value.ts'
import { defaultRetry, pauseAfterThrowMs } from '../model/retry-rules.ts'
import { derivedId, type StepName } from '../model/step-name.ts'
import type { RunStore } from '../store/run-store.ts'
import type { RunsOfOperation } from '../store/runs-part.ts'
import type { Execution } from './execution.ts'
import { commitStep, type RunStepOperation } from './step-commit.ts'
import type { StepDraftPorts } from './step-draft-ports.ts'
import { finalStepErrors, type StepPlan, type WorkContext } from './step-plan.ts'
import { StepShowing } from './step-showing.ts'
import { inStepTime } from './step-time.ts'

/** Dependencies of the steps of a run. */
export interface StepPorts {
  readonly store: RunStore
  readonly part: Part<RunsOfOperation>
  readonly drafts: StepDraftPorts
  readonly run: RunStepOperation
  readonly clock: Clock
  readonly logger: Logger
  /** Shows the newest progress of a run to whoever listens, and keeps it. Never rejects. */
  readonly showProgress: (execution: Execution, json: string) => Promise<void>
}

/** The step that the code runs in, for as long as it does. */
export const insideStep = new AsyncLocalStorage<{ readonly name: StepName; readonly run: string }>()

/** How long a commit may take whose step does not say so itself, in milliseconds. */
const commitTimeoutMs = 30_000
const longestPauseMs = 2_000
const firstPauseMs = 50

/** Steps that have thrown in the attempts before: how often, and their last errors. */
export type EarlierThrows = ReadonlyMap<string, { readonly thrown: number; readonly error: string }>

/** Tries of one step, until it has committed, has thrown for the last time, or the attempt at its run ends. */
export class StepTries {
  readonly #execution: Execution
  readonly #ports: StepPorts
  readonly #plan: StepPlan
  /** Number of the next try to commit. */
  #number = 1
  /** How often the step has thrown in this attempt. */
  #throws = 0
  readonly #showing: StepShowing
  /** The value is what a node that died had shown. */
  #isPartial = false

  constructor(execution: Execution, ports: StepPorts, plan: StepPlan) {
    this.#execution = execution
    this.#ports = ports
    this.#plan = plan
    this.#showing = new StepShowing(execution, ports.drafts, plan.key)
  }

  /** @throws the last error of the step */
  async run(earlier: EarlierThrows): Promise<Committed | Over> {
    const plan = this.#plan
    const before = earlier.get(plan.key)
    if (before !== undefined && before.thrown >= (plan.retry.attempts ?? defaultRetry.attempts)) {
      throw new LockstepError('LS_RUN_FAILED', {
        message: `${this.#who} has thrown ${before.thrown} times, the last time: ${before.error}`,
      })
    }
    try {
      return await this.#untilOver()
    } finally {
      this.#showing.end()
    }
  }

  async #untilOver(): Promise<Committed | Over> {
    for (;;) {
      const worked = await this.#work()
      if (worked.kind === 'over') return over
      const committed = worked.kind === 'threw' ? worked : await this.#commit(worked.value)
      if (committed.kind !== 'threw') return committed
      const pauseMs = await this.#afterThrow(committed.error)
      if (pauseMs === undefined) return over
      await pause(this.#ports.clock, pauseMs, this.#execution.signal)
      if (!this.#execution.mayBegin) return over
    }
  }

  async #work(): Promise<Worked> {
    const { work, key, timeoutMs, name } = this.#plan
    if (work === undefined) return { kind: 'worked', value: undefined }
    const execution = this.#execution
    const kept = this.#number === 1 ? execution.keptOf(key) : undefined
    this.#isPartial = kept !== undefined
    if (kept !== undefined) return { kind: 'worked', value: kept }
    const drafts = this.#showing.begin(this.#number)
    const context = (signal: AbortSignal): WorkContext => ({
      signal,
      idempotencyKey: derivedId('idempotency', execution.id, key),
      attempt: execution.attempt,
      draft: (draft) => drafts.draft(draft),
      previous: (draft) => execution.previous.of(key, draft),
    })
    try {
      const within = { name, run: execution.id }
      const value = await inStepTime(
        { clock: this.#ports.clock, timeoutMs, signal: execution.signal, who: this.#who },
        (signal) => insideStep.run(within, async () => work(context(signal))),
      )
      if (!execution.mayCommit) return { kind: 'over' }
      if (execution.isStopped && execution.claimed.task.onStop === 'discard') return { kind: 'over' }
      return { kind: 'worked', value }
    } catch (error) {
      if (execution.mayBegin) {
        if (this.#showing.end()) {
          this.#number += 1
          await this.#persist(() => this.#showing.retract(drafts))
        }
        return { kind: 'threw', error }
      }
      // Ignore an error once the attempt is to end, which has brought it about.
      const text = drafts.onlyText
      const isKept = execution.mayCommit && execution.isStopped && execution.claimed.task.onStop === 'keep'
      return isKept && text !== undefined ? { kind: 'worked', value: text } : { kind: 'over' }
    }
  }

  /** Commits with the same value until the database has said how that ended. */
  async #commit(value: unknown): Promise<Committed | Threw | Over> {
    const plan = this.#plan
    const { clock, part, run } = this.#ports
    const execution = this.#execution
    const { claimed, attempt, committed } = execution
    const within = { name: plan.name, run: execution.id }
    let pauseMs = firstPauseMs
    for (;;) {
      if (!execution.mayCommit) return over
      const isStopped = execution.isStopped
      // Value of work alone is worth keeping: a step without it does not begin after a stop.
      if (isStopped && (plan.work === undefined || claimed.task.onStop === 'discard')) return over
      const result = await commitStep(
        run,
        { part, drafts: this.#ports.drafts.part },
        {
          places: this.#showing.placesFor(this.#number),
          entry: {
            run: execution.id,
            attempt,
            node: claimed.node,
            isStopped,
            lastStep: committed.last,
            name: plan.key,
          },
          number: this.#number++,
          task: claimed.task.name,
          who: this.#who,
          user: claimed.run.user,
          timeoutMs: plan.timeoutMs ?? commitTimeoutMs,
          signal: execution.commitSignal(isStopped),
          commit: async (tx) => {
            // The connection may have shown another history, in which the number of this attempt is another node's.
            if (execution.isOver) throw new LockstepError('LS_RUN_LOST')
            if (plan.commit === undefined) return value
            return insideStep.run(within, async () =>
              plan.commit?.(tx, value, { stopped: isStopped || this.#isPartial, attempt }),
            )
          },
        },
      )
      if (result.kind === 'committed') {
        committed.add(plan.key, result.kept.json)
        return { kind: 'committed', value: result.kept.value }
      }
      if (result.kind === 'threw') return result
      if (result.kind === 'interrupted') continue
      if (result.kind === 'stopDiffers') execution.stop()
      if (result.kind === 'again') this.#logAgain(result.error)
      // Keep the number of a try that no node has taken: nothing was rolled back, and its drafts stand.
      if (result.kind === 'again' && result.isNotAccepted === true) this.#number -= 1
      // Ask before any other try: while the database is away, each of them would be one more operation to settle.
      const row = await this.#persist(() => this.#ports.store.step(execution.id, plan.key))
      if (row !== undefined) {
        committed.add(plan.key, row.result)
        return { kind: 'committed', value: fromKept(row.result) }
      }
      if (result.kind === 'superseded') execution.lose()
      await pause(clock, pauseMs)
      pauseMs = Math.min(pauseMs * 2, longestPauseMs)
    }
  }

  /**
   * Notes that the step has thrown.
   * @returns the pause before the next try; undefined where the attempt ends, to be followed by another one after the pause
   * @throws the error where it was the last time
   */
  async #afterThrow(error: unknown): Promise<number | undefined> {
    const plan = this.#plan
    const execution = this.#execution
    // A refusal is what the code wants: another try would refuse as well.
    if (refusalIn(error) !== undefined || (isLockstepError(error) && finalStepErrors.has(error.code)))
      throw error
    const { id: run, attempt, claimed } = execution
    const throws = (this.#throws += 1)
    const noted = { run, name: plan.key, attempt, node: claimed.node, throws, error: messageOf(error) }
    const thrown = await this.#persist(() => this.#ports.store.noteThrow(noted))
    if (execution.isOver) return undefined
    if (thrown === undefined) {
      execution.lose()
      return undefined
    }
    const pauseMs = pauseAfterThrowMs(thrown, plan.retry)
    if (pauseMs === undefined) throw error
    const facts = { run, task: claimed.task.name, step: plan.key, thrown, pauseMs }
    this.#ports.logger.warn({ ...facts, error }, 'a step threw, and is tried again')
    if (!execution.isAlone) return pauseMs
    execution.finish({ kind: 'released', pauseMs })
    return undefined
  }

  #logAgain(error: unknown): void {
    const { id, claimed, mayCommit } = this.#execution
    if (!mayCommit) return
    const facts = { run: id, task: claimed.task.name, step: this.#plan.key, error: messageOf(error) }
    this.#ports.logger.warn(facts, 'the commit of a step is repeated')
  }

  /** Asks the database until it answers, or the attempt has ended. */
  async #persist<T>(ask: () => Promise<T | undefined>): Promise<T | undefined> {
    for (
      let pauseMs = firstPauseMs;
      !this.#execution.isOver;
      pauseMs = Math.min(pauseMs * 2, longestPauseMs)
    ) {
      try {
        return await ask()
      } catch (error) {
        const facts = { run: this.#execution.id, error: messageOf(error) }
        this.#ports.logger.warn(facts, 'a step waits for the database')
        await pause(this.#ports.clock, pauseMs)
      }
    }
    return undefined
  }

  get #who(): string {
    return `Step ${JSON.stringify(this.#plan.name)} (task "${this.#execution.claimed.task.name}")`
  }
}

type Worked = { readonly kind: 'worked'; readonly value: unknown } | Threw | Over
interface Committed {
  readonly kind: 'committed'
  readonly value: unknown
}
interface Threw {
  readonly kind: 'threw'
  readonly error: unknown
}
/** The attempt at the run is to end. */
interface Over {
  readonly kind: 'over'
}
const over: Over = { kind: 'over' }

import { assertWholeNumbers, disregard, LockstepError, waitAtMost, type Channel } from '../../core/index.ts'
import { fromKept } from '../model/kept-value.ts'
import type { Retry } from '../model/retry-rules.ts'
import { familyOf, stepKey, type StepName } from '../model/step-name.ts'
import { never, type Execution } from './execution.ts'
import { Progress } from './progress.ts'
import type { StepCalls } from './runnable-task.ts'
import type { StepPlan } from './step-plan.ts'
import { insideStep, StepTries, type EarlierThrows, type StepPorts } from './step-tries.ts'

/** How long a new step waits until all committed ones have been asked for, in milliseconds. */
const allAskedMs = 5_000

/** Steps of one attempt at a run: each is answered from its row, or run until it has committed. */
export class RunSteps implements StepCalls {
  readonly #execution: Execution
  readonly #ports: StepPorts
  readonly #earlier: EarlierThrows
  readonly #used = new Set<string>()
  readonly #progress: Progress

  constructor(execution: Execution, ports: StepPorts, earlier: EarlierThrows) {
    this.#execution = execution
    this.#ports = ports
    this.#earlier = earlier
    this.#progress = new Progress(ports.clock, (json) => ports.showProgress(execution, json))
  }

  do(name: StepName, step: unknown): Promise<unknown> {
    const options = typeof step === 'function' ? { work: step } : step
    return this.#begin('do', name, options as Partial<StepPlan>)
  }

  commit(name: StepName, commit: unknown): Promise<unknown> {
    return this.#begin('commit', name, { commit: commit as NonNullable<StepPlan['commit']> })
  }

  showOn(channel: Channel | undefined): void {
    this.#execution.channel = channel
  }

  progress(value: unknown): void {
    const json = this.#execution.claimed.task.toProgress(value)
    if (!this.#execution.isOver) this.#progress.set(json)
  }

  /** Lets the last progress through. Resolves when that one is kept. */
  close(): Promise<void> {
    return this.#progress.close()
  }

  #begin(method: StepPlan['method'], name: StepName, given: Partial<StepPlan>): Promise<unknown> {
    const step = this.#run(method, name, given)
    // Ignore the rejection of a step that the code does not await, which else would end the process.
    disregard(step)
    return step
  }

  async #run(method: StepPlan['method'], name: StepName, given: Partial<StepPlan>): Promise<unknown> {
    const execution = this.#execution
    this.#assertPlace(method, name)
    const key = stepKey(name)
    if (this.#used.has(key)) throw this.#repeated(name)
    this.#used.add(key)
    const known = execution.committed.ask(key)
    if (known !== undefined) return fromKept(known.json)
    assertPlan(method, name, given)
    await this.#untilAllAsked(key)
    if (!execution.mayBegin) return never()
    const { work, commit, timeoutMs } = given
    const retry = given.retry ?? execution.claimed.task.retry
    const end = await this.#tried({ method, name, key, work, commit, timeoutMs, retry })
    return end.kind === 'committed' ? end.value : never()
  }

  async #tried(plan: StepPlan): ReturnType<StepTries['run']> {
    this.#execution.enter()
    try {
      return await new StepTries(this.#execution, this.#ports, plan).run(this.#earlier)
    } finally {
      this.#execution.leave()
    }
  }

  /** @throws LS_STEP_NESTED, LS_STEP_OUTSIDE_RUN */
  #assertPlace(method: string, name: StepName): void {
    const { task } = this.#execution.claimed
    const outer = insideStep.getStore()
    const call = `step.${method}(${JSON.stringify(name)})`
    if (outer?.run === this.#execution.id) {
      const within = JSON.stringify(outer.name)
      throw new LockstepError('LS_STEP_NESTED', {
        message: `${call} was called inside step ${within} of task "${task.name}". Steps do not nest: call it after ${within} has returned.`,
      })
    }
    if (!this.#execution.hasCodeEnded) return
    throw new LockstepError('LS_STEP_OUTSIDE_RUN', {
      message: `${call} of task "${task.name}" was called after its run had returned. Await every step before run returns.`,
    })
  }

  #repeated(name: StepName): LockstepError {
    const family = JSON.stringify(familyOf(name))
    return new LockstepError('LS_STEP_REPEATED', {
      message:
        `Step ${JSON.stringify(name)} was used twice in one run of task "${this.#execution.claimed.task.name}". ` +
        `In a loop give each its own key: step.do([${family}, i], …).`,
    })
  }

  /** @throws LS_RUN_CODE_CHANGED when a committed step is not asked for */
  async #untilAllAsked(key: string): Promise<void> {
    const { committed, claimed } = this.#execution
    if (claimed.task.isParallel) return
    const asked = committed.allAsked()
    if (asked === undefined) return
    await waitAtMost(this.#ports.clock, allAskedMs, asked)
    const [forgotten] = committed.unasked
    if (forgotten !== undefined) throw this.#execution.codeChanged(forgotten, `begins step "${key}"`)
  }
}

/** @throws LS_CONFIG_INVALID for a step without functions of its own, and for numbers that are none */
function assertPlan(method: StepPlan['method'], name: StepName, given: Partial<StepPlan> | undefined): void {
  const isFine =
    method === 'commit'
      ? typeof given?.commit === 'function'
      : typeof given?.work === 'function' &&
        (given.commit === undefined || typeof given.commit === 'function')
  if (isFine) return assertNumbers(given ?? {})
  const call = `step.${method}(${JSON.stringify(name)}`
  throw new LockstepError('LS_CONFIG_INVALID', {
    message:
      method === 'commit'
        ? `${call}, …) takes a function: ${call}, async (tx) => { … }).`
        : `${call}, …) takes a function, or { work, commit }: ${call}, async ({ signal }) => { … }).`,
  })
}

/** @throws LS_CONFIG_INVALID */
function assertNumbers({ timeoutMs, retry }: Partial<StepPlan>): void {
  const { attempts, backoffMs, maxBackoffMs }: Partial<Retry> = retry ?? {}
  assertWholeNumbers({ timeoutMs, 'retry.attempts': attempts })
  assertWholeNumbers({ 'retry.backoffMs': backoffMs, 'retry.maxBackoffMs': maxBackoffMs }, { least: 0 })
}

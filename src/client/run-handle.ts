import {
  declaredRefusalOf,
  reservedMethods,
  runEvents,
  type OngoingRun,
  type RunProgressData,
  type RunRef,
  type RunReport,
  type RunStateData,
} from '../protocol/index.ts'
import { backoffMs, later, type Delays } from './backoff.ts'
import { RolledBackError } from './call.ts'
import type { Joined } from './channel-event.ts'
import { createDeferred, type Deferred } from './deferred.ts'
import { detach, disregard } from './detach.ts'
import type { DraftView } from './draft-view.ts'
import { clientError, fromWireError, LockstepClientError } from './errors.ts'
import { assertEvent, Listeners, type ErrorListener, type Off } from './listeners.ts'
import type { Call, FinalOutcome } from './pending-operation.ts'
import { askedRun, isEnd, withAnswer, withState, type KnownRun } from './run-model.ts'
import type { RunEnd, StartedRun } from './run.ts'

export interface RunHandleOptions {
  readonly ref: RunRef
  /** Call that starts the run; undefined where it has been started before. */
  readonly start: Call | undefined
  readonly delays: Delays
  readonly onError: ErrorListener
  /** Asks a question again while the server has too much to do. @throws LockstepClientError */
  readonly query: (method: string, data: unknown) => Promise<unknown>
  readonly call: (method: string, input: unknown) => Call
  /** Subscribes to the channel of the run; answers whether its events came already. */
  readonly follow: (channel: string) => { readonly isJoined: boolean; readonly off: Off }
  readonly draftOf: (channel: string, runId: string, name: string) => DraftView | undefined
  /** The run needs no events any more. */
  readonly onOver: (handle: RunHandle) => void
}

/** Follows one run to its end: by its events, and by what the server answers where those cannot tell. */
export class RunHandle implements StartedRun {
  readonly ref: RunRef
  readonly #options: RunHandleOptions
  readonly #changes: Listeners<[]>
  /** Settles, and never rejects, when it is known whether there is a run. */
  readonly #begun: Promise<unknown>
  #known: KnownRun = askedRun
  #channel: string | undefined
  #unfollow: Off | undefined
  #end: RunEnd | undefined
  #error: LockstepClientError | undefined
  #waiter: Deferred<RunEnd> | undefined
  #result: Promise<unknown> | undefined
  #isOutcomeHeard = false
  #isAsking = false
  #isAskedAgain = false
  /** The history may be another one, so the next answer replaces what is known. */
  #isDoubtful = false
  #failures = 0
  #cancelRetry: Off | undefined

  constructor(options: RunHandleOptions) {
    const { ref, start, onError } = options
    this.ref = ref
    this.#options = options
    this.#changes = new Listeners(onError)
    this.#begun =
      start === undefined
        ? Promise.resolve().then(() => this.#ask())
        : start.outcome.then(
            (outcome) => this.#started(outcome),
            (error: unknown) => this.fail(error),
          )
  }

  get id(): string {
    return this.ref.id
  }

  get state(): KnownRun['state'] {
    return this.#known.state
  }

  get phase(): KnownRun['phase'] {
    return this.#known.phase
  }

  get progress(): unknown {
    return this.#known.progress
  }

  get steps(): RunReport['steps'] {
    return this.#known.steps
  }

  get end(): RunEnd | undefined {
    return this.#end
  }

  get error(): LockstepClientError | undefined {
    return this.#error
  }

  get outcome(): Promise<FinalOutcome<RunRef>> {
    this.#isOutcomeHeard = true
    // The types show it of a run that this page has started.
    return this.#options.start?.outcome as Promise<FinalOutcome<RunRef>>
  }

  get ended(): Promise<RunEnd> {
    if (this.#waiter === undefined) {
      this.#waiter = createDeferred()
      this.#settle()
    }
    return this.#waiter.promise
  }

  get result(): Promise<unknown> {
    return (this.#result ??= this.ended.then(resultOf))
  }

  draft(name: string): DraftView | undefined {
    return this.#channel === undefined ? undefined : this.#options.draftOf(this.#channel, this.id, name)
  }

  /** A draft of the run has changed. */
  draftChanged(): void {
    if (!this.#isOver) this.#changes.emit()
  }

  on(event: 'change', listener: () => void): Off {
    assertEvent(event, 'change')
    return this.#changes.add(listener)
  }

  async stop(): Promise<void> {
    // A stop that overtook the start would find no run.
    await this.#begun
    if (this.#end === undefined) await this.#options.call(reservedMethods.stopRun, { runId: this.id }).result
  }

  close(): void {
    this.fail(clientError('LS_CLIENT_CLOSED'))
  }

  /** Takes an event of its channel. */
  hear(type: string, data: RunStateData & RunProgressData): void {
    if (type === runEvents.state) this.#learn(withState(this.#known, data))
    else this.#learn({ ...this.#known, progress: data.progress })
  }

  /** The page has joined the channel, for the first time or again. */
  joined(channel: string, { recovered, data }: Joined): void {
    // The user's own channel has no other name here.
    if (channel !== this.#channel && !(channel === 'user:' && this.#channel?.startsWith(channel))) return
    this.#isDoubtful ||= !recovered
    const { runs } = Object(data) as { readonly runs?: unknown }
    const open = Array.isArray(runs)
      ? (runs as OngoingRun[]).find(({ runId }) => runId === this.id)
      : undefined
    if (open !== undefined) {
      const isWhole = this.#isDoubtful
      this.#isDoubtful = false
      this.#learn(withAnswer(this.#known, open, isWhole))
    } else if (!recovered || Array.isArray(runs)) this.#ask()
  }

  /** Ends the following: the run cannot be asked for. */
  fail(reason: unknown): void {
    if (this.#isOver) return
    const error = reason instanceof LockstepClientError ? reason : fromWireError(reason)
    this.#error = error
    this.#over()
    if (this.#waiter === undefined && !this.#isOutcomeHeard && error.reason !== 'LS_CLIENT_CLOSED')
      this.#options.onError(error)
  }

  get #isOver(): boolean {
    return this.#end !== undefined || this.#error !== undefined
  }

  #started(ended: FinalOutcome): void {
    if (ended.outcome === 'committed') this.#ask()
    else if (ended.outcome === 'never_received') this.fail(clientError('LS_CLIENT_NEVER_RECEIVED'))
    else {
      this.#known = { ...this.#known, state: 'failed', phase: 'failed' }
      this.#finish({ state: 'failed', notice: ended.notice, refusal: ended.refusal })
    }
  }

  #learn(known: KnownRun): void {
    if (this.#isOver || known === this.#known) return
    const wasEnd = isEnd(this.#known)
    this.#known = known
    if (known.state === 'cancelled') return this.#finish({ state: 'cancelled' })
    // The event of an end has no result and no notice.
    if (isEnd(known) && !wasEnd) this.#ask()
    this.#changes.emit()
  }

  /** Asks for the run, and once more where that is wanted meanwhile. */
  #ask(): void {
    if (this.#isOver) return
    if (this.#isAsking) this.#isAskedAgain = true
    else detach(this.#askNow(), this.#options.onError)
  }

  async #askNow(): Promise<void> {
    this.#cancelRetry?.()
    this.#isAsking = true
    this.#isAskedAgain = false
    const { query, delays } = this.#options
    const { progress } = this.#known
    const isWhole = this.#isDoubtful
    try {
      const report = (await query(reservedMethods.getRun, { runId: this.id })) as RunReport
      this.#failures = 0
      if (isWhole) this.#isDoubtful = false
      if (!this.#isOver) this.#take(report, isWhole, progress)
    } catch (error) {
      if (!(error instanceof LockstepClientError) || (error.code >= 100 && !error.retryable)) this.fail(error)
      else if (!this.#isOver)
        this.#cancelRetry = later(() => this.#ask(), backoffMs(this.#failures++, delays))
    } finally {
      this.#isAsking = false
    }
    if (this.#isAskedAgain) this.#ask()
  }

  /** @param before the progress when the question was asked: a push that came since is newer than the answer */
  #take(report: RunReport, isWhole: boolean, before: unknown): void {
    const { progress } = this.#known
    const known = withAnswer(this.#known, report, isWhole)
    this.#known = progress === before ? known : { ...known, progress }
    const end = endOf(report)
    if (end !== undefined) return this.#finish(end)
    if (this.#channel === undefined) {
      this.#channel = report.channel
      const { isJoined, off } = this.#options.follow(report.channel)
      this.#unfollow = off
      // Events between the answer and a join that is still to come are heard by nobody: `joined` asks again.
      if (isJoined) this.#isDoubtful = false
    }
    this.#changes.emit()
  }

  #finish(end: RunEnd): void {
    this.#end = end
    this.#over()
  }

  #over(): void {
    this.#cancelRetry?.()
    this.#unfollow?.()
    this.#options.onOver(this)
    this.#settle()
    this.#changes.emit()
  }

  #settle(): void {
    const waiter = this.#waiter
    if (waiter === undefined) return
    if (this.#end !== undefined) waiter.resolve(this.#end)
    else if (this.#error !== undefined) {
      // A run that is closed need not have been awaited to its end.
      if (this.#error.reason === 'LS_CLIENT_CLOSED') disregard(waiter.promise)
      waiter.reject(this.#error)
    }
  }
}

function endOf(report: RunReport): RunEnd | undefined {
  const { state, result, notice } = report
  if (state === 'completed') return { state, result }
  if (state === 'cancelled') return { state }
  if ((state !== 'failed' && state !== 'timeout' && state !== 'dead') || notice === undefined)
    return undefined
  return { state, notice, refusal: declaredRefusalOf(notice) }
}

function resultOf(end: RunEnd): unknown {
  if (end.state === 'completed') return end.result
  if (end.state === 'cancelled') throw clientError('LS_CLIENT_RUN_STOPPED')
  throw new RolledBackError(end.notice, end.refusal)
}

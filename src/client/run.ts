import type { Notice, PlainRefusal, RunPhase, RunRef, RunReport, RunState } from '../protocol/index.ts'
import type { DraftView } from './draft-view.ts'
import type { LockstepClientError } from './errors.ts'
import type { Off } from './listeners.ts'
import type { FinalOutcome } from './pending-operation.ts'

/** How a run has ended. */
export type RunEnd<Result = unknown, Refused = PlainRefusal> =
  | { readonly state: 'completed'; readonly result: Result }
  | { readonly state: 'cancelled' }
  | {
      readonly state: 'failed' | 'timeout' | 'dead'
      readonly notice: Notice
      /** Refusal that the task declares; undefined after any other failure. */
      readonly refusal: Refused | undefined
    }

/** A run as this page sees it, and follows it until its end. */
export interface Run<
  Name extends string = string,
  Result = unknown,
  Refused = PlainRefusal,
  Progress = unknown,
  Drafts = Readonly<Record<string, unknown>>,
> {
  readonly id: string
  /** Names the run wherever it is kept, as JSON: `client.run(ref)` follows it again. */
  readonly ref: RunRef<Name>
  /** `pending` until anything is known. */
  readonly state: RunState
  readonly phase: RunPhase
  /** The newest one; undefined before the first. */
  readonly progress: Progress | undefined
  /** Steps that had committed when the run was last asked for: when it is opened, and at its end. A reconnect alone need not refresh them. */
  readonly steps: RunReport['steps']
  /** Open draft of that name, while the run shows one. */
  draft<Draft extends keyof Drafts & string>(name: Draft): DraftView<Drafts[Draft]> | undefined
  readonly end: RunEnd<Result, Refused> | undefined
  /** Reason why the run cannot be followed. */
  readonly error: LockstepClientError | undefined
  /**
   * Settles with the end of the run. A start that was rolled back is a run that failed. Rejects with a `LockstepClientError`
   * when the start was not accepted, when the server does not show the run, and on `close`.
   */
  readonly ended: Promise<RunEnd<Result, Refused>>
  /** The result of a run that completed. Rejects with a `RolledBackError` where it failed, with LS_CLIENT_RUN_STOPPED where it was stopped, and as `ended` does. */
  readonly result: Promise<Result>
  on(event: 'change', listener: () => void): Off
  /** Stops the run. Resolves when the stop is durable, also where the run had ended. Rejects as the result of a call does. */
  stop(): Promise<void>
  /** Follows it no more. The run goes on. */
  close(): void
}

/** A run that this page has started. */
export interface StartedRun<
  Name extends string = string,
  Result = unknown,
  Refused = PlainRefusal,
  Progress = unknown,
  Drafts = Readonly<Record<string, unknown>>,
> extends Run<Name, Result, Refused, Progress, Drafts> {
  /** Outcome of the start, which is an operation. Settles as that of a call does. */
  readonly outcome: Promise<FinalOutcome<RunRef<Name>, Refused>>
}

import { faultPoint } from '../../core/fault-point.ts'
import { isLockstepError, LockstepError, type ErrorCode, type UserContext } from '../../core/index.ts'
import { thrownErrorCode } from '../../postgres/index.ts'
import type { DraftsOfOperation, DraftStep } from '../../drafts/index.ts'
import { handleIn, type EndedOperation, type Part, type Transaction } from '../../transaction/index.ts'
import { toKept, type KeptValue } from '../model/kept-value.ts'
import { derivedId } from '../model/step-name.ts'
import type { EnteredStep, RunsOfOperation } from '../store/runs-part.ts'

/** The commit of a step, as the operation that it is. */
export interface StepOperation {
  readonly id: string
  /** The task: names of steps may be made from data, and settings and figures are kept for each operation. */
  readonly name: string
  readonly user: UserContext
  readonly timeoutMs: number
  /** Interrupts the transaction. */
  readonly signal: AbortSignal
  readonly work: (tx: Transaction<unknown>) => Promise<void>
}

export type RunStepOperation = (operation: StepOperation) => Promise<EndedOperation<unknown>>

/** A single try to commit a step. */
export interface CommitTry {
  readonly entry: EnteredStep
  /** Drafts that its work has shown. */
  readonly places: DraftStep['places']
  /** Number of the try, within this attempt at the run. */
  readonly number: number
  readonly task: string
  /** Names the step in errors. */
  readonly who: string
  readonly user: UserContext
  /** Longest time that it may take, in milliseconds. */
  readonly timeoutMs: number
  /** Aborts when the commit counts for nothing any more, or a stop was acknowledged that it was not told of. */
  readonly signal: AbortSignal
  /** Writes what the step commits, and returns its result. */
  readonly commit: (tx: Transaction<unknown>) => Promise<unknown>
}

/** Result of a single try to commit a step. */
export type CommitResult =
  | { readonly kind: 'committed'; readonly kept: KeptValue }
  /** The run has been stopped, or had not been, unlike what the step was told. */
  | { readonly kind: 'stopDiffers' }
  /** The step has committed before, or the run is another attempt's: the database knows. */
  | { readonly kind: 'superseded'; readonly error: unknown }
  /** The signal has interrupted the commit, and it was rolled back. */
  | { readonly kind: 'interrupted' }
  /** The step has not committed, for no fault of the step: another try may succeed with the same value. */
  | {
      readonly kind: 'again'
      readonly error: unknown
      /** The node has not taken it: no operation of that id has begun. */
      readonly isNotAccepted?: boolean
    }
  /** Whether the step has committed is not known. */
  | { readonly kind: 'pending' }
  | { readonly kind: 'threw'; readonly error: unknown }

/** Errors that tell of the database or the node, and not of the step. */
const notItsFault: ReadonlySet<ErrorCode> = new Set([
  'LS_SERIALIZATION_FAILURE',
  'LS_CONNECTION_LOST',
  'LS_DATABASE_UNREACHABLE',
  'LS_DATABASE_READ_ONLY',
  'LS_DATABASE_RESOURCES',
  'LS_POOL_EXHAUSTED',
  'LS_OPERATION_INTERRUPTED',
  'LS_NODE_STARTING',
  'LS_NODE_STOPPING',
  'LS_NODE_OVERLOADED',
  'LS_NODE_FENCED',
])

/** Errors by which a node refuses to begin an operation. */
const notAccepted: ReadonlySet<ErrorCode> = new Set([
  'LS_NODE_STARTING',
  'LS_NODE_STOPPING',
  'LS_NODE_OVERLOADED',
  'LS_NODE_FENCED',
])

/** Parts that take part in the commit of a step. */
export interface StepParts {
  readonly part: Part<RunsOfOperation>
  readonly drafts: Part<DraftsOfOperation>
}

/** Id of the operation by which one try commits a step. */
export function stepOperationId(
  { run, name, attempt }: Pick<EnteredStep, 'run' | 'name' | 'attempt'>,
  number: number,
): string {
  return derivedId('step', run, name, attempt, number)
}

/** Commits a step once, or says why not. Never throws. */
export async function commitStep(
  run: RunStepOperation,
  { part, drafts }: StepParts,
  asked: CommitTry,
): Promise<CommitResult> {
  const { entry, number, who } = asked
  let kept: KeptValue | undefined
  try {
    await faultPoint('runs.before-step')
    const ended = await run({
      id: stepOperationId(entry, number),
      name: asked.task,
      user: asked.user,
      timeoutMs: asked.timeoutMs,
      signal: asked.signal,
      async work(tx) {
        kept = undefined
        const handle = handleIn(tx, part)
        handle.enter(entry)
        const { run: id, name: step, attempt } = entry
        handleIn(tx, drafts).step = { run: id, step, attempt, places: asked.places }
        kept = toKept(await asked.commit(tx), who)
        handle.keep(kept.json)
      },
    })
    if (ended.outcome.outcome === 'committed')
      return { kind: 'committed', kept: kept ?? toKept(undefined, who) }
    const error = ended.error ?? new LockstepError('LS_OPERATION_FENCED')
    return resultOf(error, asked, kept !== undefined)
  } catch (error) {
    if (isLockstepError(error, 'LS_OUTCOME_PENDING')) return { kind: 'pending' }
    const result = resultOf(error, asked, kept !== undefined)
    const isNotAccepted = isLockstepError(error) && notAccepted.has(error.code)
    return result.kind === 'again' ? { ...result, isNotAccepted } : result
  }
}

/** @param hasReturned the code of the commit has: only the flush behind it tells how the run stands */
function resultOf(
  error: unknown,
  { signal, timeoutMs, who }: Pick<CommitTry, 'signal' | 'timeoutMs' | 'who'>,
  hasReturned: boolean,
): CommitResult {
  if (signal.aborted && error === signal.reason) return { kind: 'interrupted' }
  if (isLockstepError(error, 'LS_OPERATION_TIMEOUT'))
    return { kind: 'threw', error: commitTimedOut(who, timeoutMs) }
  const code = thrownErrorCode(error)
  if (hasReturned && code === 'LS_RUN_STOPPED') return { kind: 'stopDiffers' }
  if (hasReturned && (code === 'LS_RUN_LOST' || code === 'LS_OPERATION_FENCED'))
    return { kind: 'superseded', error }
  return { kind: code !== undefined && notItsFault.has(code) ? 'again' : 'threw', error }
}

function commitTimedOut(who: string, timeoutMs: number): LockstepError {
  return new LockstepError('LS_STEP_TIMEOUT', {
    message:
      `${who} had not committed after ${timeoutMs} ms, and was rolled back. Wait for nothing but the database in a commit: ` +
      'do other work in the work of the step, or give the step a longer timeoutMs.',
  })
}

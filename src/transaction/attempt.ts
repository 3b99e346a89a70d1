import { faultPoint } from '../core/fault-point.ts'
import { limits } from '../protocol/index.ts'
import {
  disregard,
  LockstepError,
  whenSettled,
  type Database,
  type ErrorCode,
  type Mode,
  type Moment,
  type OpenTransaction,
  type UserContext,
} from '../core/index.ts'
import {
  flushOperation,
  toFlushRow,
  toLockstepError,
  type FlushRow,
  type OperationKey,
  type PendingEvent,
} from '../postgres/index.ts'
import type { FlushQueue } from './flush-queue.ts'
import type { Hook } from './hook-runner.ts'
import type { Interruption } from './interruption.ts'
import type { LateCalls } from './late-calls.ts'
import { failureCode } from './notice.ts'
import type { OperationGuard } from './operation-guard.ts'
import type { OperationTrace } from './operation-trace.ts'
import { TransactionScope, type Transaction } from './transaction.ts'

export interface AttemptRequest<Db, Result> {
  readonly key: OperationKey
  readonly since: Moment
  readonly late: LateCalls
  readonly user: UserContext
  readonly interruption: Interruption
  /** In development, with where the operation was called. */
  readonly guard: OperationGuard | undefined
  readonly origin: Error | undefined
  /** Settles to whether this id has no outcome yet. Absent when no intent is written. */
  readonly intent: Promise<boolean> | undefined
  readonly mode: Mode
  readonly trace: OperationTrace
  readonly flushes: FlushQueue
  /** Where the mode lets events leave at once. */
  readonly emitNow?: ((event: PendingEvent) => void) | undefined
  readonly work: (tx: Transaction<Db>) => Promise<Result>
}

/** The hooks of the ending that stands: of an unknown one, once it is known. */
type HooksOf = (ending: 'committed' | 'rolled_back') => readonly Hook[]

interface Failure {
  readonly error: unknown
  readonly code: ErrorCode
  readonly affectedLayers: readonly string[]
  readonly hooksOf: HooksOf
}

/** How one attempt at an operation ended, as far as this process could hear. */
export type AttemptEnding<Result> =
  | {
      readonly ending: 'committed'
      readonly result: Result
      readonly events: readonly PendingEvent[]
      readonly flushed: FlushRow
      readonly hooksOf: HooksOf
      /** Of the history that it was committed in. Absent where the database knows only one. */
      readonly epoch: string | undefined
    }
  | (Failure & { readonly ending: 'rolled_back' })
  /** `events` are what it has emitted, if it has committed. */
  | (Failure & { readonly ending: 'unknown'; readonly events: readonly PendingEvent[] })
  /** The id was known already: nothing of this attempt was kept, and the stored outcome counts. */
  | { readonly ending: 'known' }

/** Runs the user's work in one transaction and ends it. Never throws. */
export async function attempt<Db, Result>(
  database: Database<Db>,
  request: AttemptRequest<Db, Result>,
): Promise<AttemptEnding<Result>> {
  let open: OpenTransaction<Db>
  try {
    await faultPoint('transaction.before-work')
    open = await database.begin({ operationId: request.key.id })
  } catch (error) {
    return (await isKnown(request.intent)) ? { ending: 'known' } : neverBegun(error)
  }
  const { key, user, interruption, mode, emitNow } = request
  const scope = TransactionScope.of<Db>({ operationId: key.id, user, interruption, mode, emitNow }, open)
  return await workAndCommit(database, request, { open, scope })
}

/** The ending of an operation whose transaction could not begin. */
export function neverBegun(error: unknown): Extract<AttemptEnding<never>, { ending: 'rolled_back' }> {
  const code = failureCode(error)
  return { ending: 'rolled_back', error, code, affectedLayers: ['database'], hooksOf: () => [] }
}

async function isKnown(intent: Promise<boolean> | undefined): Promise<boolean> {
  try {
    return intent !== undefined && !(await intent)
  } catch {
    // The database is away for the intent too.
    return false
  }
}

interface Begun<Db> {
  readonly open: OpenTransaction<Db>
  readonly scope: TransactionScope<Db>
}

async function workAndCommit<Db, Result>(
  database: Database<Db>,
  request: AttemptRequest<Db, Result>,
  { open, scope }: Begun<Db>,
): Promise<AttemptEnding<Result>> {
  const layers = (): readonly string[] => (scope.hasEmitted ? ['database', 'websocket'] : ['database'])
  const hooksOf: HooksOf = (ending) => scope.hooksOf(ending)
  const rolledBack = (error: unknown): AttemptEnding<Result> => {
    // An interruption is the reason, whatever the statements met then.
    const code = failureCode(error, request.interruption.reason === undefined ? open.failure : undefined)
    return { ending: 'rolled_back', error, code, affectedLayers: layers(), hooksOf }
  }
  let events: readonly PendingEvent[] = []
  const unknown = (error: unknown): AttemptEnding<Result> => {
    return { ending: 'unknown', error, code: failureCode(error), affectedLayers: layers(), hooksOf, events }
  }
  let result: Result
  let flush
  try {
    if (request.interruption.reason !== undefined) throw request.interruption.reason
    result = await orInterrupted(
      request.trace.run(() => runWork(request, scope)),
      request,
      open,
    )
    await faultPoint('transaction.after-work')
    // Closed before anything is sent that ends the transaction: code that still runs can add nothing.
    scope.closeAll()
    open.close()
    scope.assertSettled()
    events = scope.events
    if (request.intent !== undefined && !(await request.intent)) throw known
    await faultPoint('transaction.after-intent')
    flush = flushOperation(database.schema, request.key, toResultJson(result), events)
    await faultPoint('transaction.before-commit')
  } catch (error) {
    scope.closeAll()
    if (error === known) {
      // Its caller has an answer already, and need not wait for a statement that still runs. Ending that by force would
      // cost the pool a connection for each copy.
      disregard(open.rollback())
      return { ending: 'known' }
    }
    await open.rollback()
    // A copy may fail by what the first has left, and before it is known that there was one.
    return (await isKnown(request.intent)) ? { ending: 'known' } : rolledBack(error)
  }
  const ending = await inTurn(request.flushes, events, () => {
    // Last of all, since nothing else tells other nodes of it.
    const tooLate = request.intent === undefined ? request.late.refusalOf(request.since) : undefined
    if (tooLate !== undefined) return rollBack(open, tooLate)
    return request.trace.commit(() => open.commit<unknown>(flush))
  })
  await faultPoint('transaction.after-commit')
  if (ending.ending === 'rolled_back') return rolledBack(toReported(ending.error, open.failure))
  if (ending.ending === 'unknown') return unknown(ending.error)
  const row = ending.flushed.rows[0]
  if (row === undefined) return unknown(new LockstepError('LS_CONNECTION_LOST'))
  return {
    ending: 'committed',
    result,
    events,
    flushed: toFlushRow(row, events),
    hooksOf,
    epoch: open.epoch,
  }
}

async function rollBack<Db>(open: OpenTransaction<Db>, error: unknown) {
  await open.rollback()
  return { ending: 'rolled_back', error } as const
}

function runWork<Db, Result>(
  { guard, origin, key, work }: AttemptRequest<Db, Result>,
  scope: TransactionScope<Db>,
): Promise<Result> {
  if (guard === undefined) return work(scope)
  return guard.run({ name: key.name, origin, isOpen: () => scope.isOpen }, () => work(scope))
}

/** Only where there is one channel: whoever waited for several would hold some of them meanwhile. */
async function inTurn<T>(
  flushes: FlushQueue,
  events: readonly PendingEvent[],
  commit: () => Promise<T>,
): Promise<T> {
  const channel = events[0]?.channel
  if (channel === undefined || events.some((event) => event.channel !== channel)) return commit()
  const turn = flushes.enter(channel)
  if (turn !== undefined) await turn
  try {
    return await commit()
  } finally {
    flushes.leave(channel)
  }
}

/**
 * An outcome that stands already must not look like a violated constraint of the application's own; and that a statement
 * had failed says less than what it failed with, where the work has caught that and returned.
 */
function toReported(error: unknown, seen: unknown): unknown {
  const code = failureCode(error)
  if (code === 'LS_OPERATION_FENCED') return new LockstepError(code, { cause: error })
  return code === 'LS_TRANSACTION_ABORTED' && seen !== undefined ? toLockstepError(seen, code) : error
}

/** Thrown inside this file only: the id turned out to be known, so this copy of the work counts for nothing. */
const known = new Error('the operation is known already')

/** The work's result, unless it is to be stopped first: then a statement that runs is stopped too. */
async function orInterrupted<Db, Result>(
  work: Promise<Result>,
  { interruption, intent }: Pick<AttemptRequest<Db, Result>, 'interruption' | 'intent'>,
  open: OpenTransaction<Db>,
): Promise<Result> {
  try {
    return await new Promise<Result>((resolve, reject) => {
      interruption.onInterrupt(reject)
      // What an intent fails with is dealt with where it is awaited, before the flush.
      if (intent !== undefined)
        whenSettled(
          intent,
          (isNew) => isNew || reject(known),
          () => {},
        )
      // Code that still runs after the handle was closed reaches no one with what it throws.
      whenSettled(Promise.resolve(work), resolve, reject)
    })
  } catch (error) {
    const isInterrupted = interruption.reason !== undefined
    if (error === known || isInterrupted) open.close()
    if (isInterrupted) await open.cancel()
    throw error
  } finally {
    interruption.ignore()
  }
}

// Before the COMMIT, so that a result that JSON or the reply cannot hold is a rollback and not a lost reply.
function toResultJson(result: unknown): string | null {
  const text = JSON.stringify(result) ?? null
  if (text !== null && Buffer.byteLength(text) > limits.maxResultBytes) {
    throw new LockstepError('LS_RESULT_TOO_LARGE', {
      message: `The result has ${Buffer.byteLength(text)} bytes, at most ${limits.maxResultBytes} are allowed.`,
    })
  }
  return text
}

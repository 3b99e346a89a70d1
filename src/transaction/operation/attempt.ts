import { mutationPoint } from '../../protocol/mutation-point.ts'
import { faultPoint } from '../../core/fault-point.ts'
import { disregard, whenSettled, type Database, type OpenTransaction } from '../../core/index.ts'
import type { Append, Landed } from '../../log/index.ts'
import { forgetRollbackEvents, type PendingEvent } from '../../postgres/index.ts'
import { failureCode } from '../settle/notice.ts'
import type { AttemptRequest, AttemptResult, HooksOf } from './attempt-result.ts'
import { afterCommit, afterWork, codeOfFailure } from './attempt-rules.ts'
import type { Flush } from './operation-parts.ts'
import { toResultJson } from './result-json.ts'
import { TransactionScope } from './transaction-scope.ts'

/** Runs the user's work in one transaction and ends it. Never throws. */
export async function attempt<Db, Result>(
  database: Database<Db>,
  request: AttemptRequest<Db, Result>,
): Promise<AttemptResult<Result>> {
  let open: OpenTransaction<Db>
  try {
    await faultPoint('transaction.before-work')
    open = await database.begin({ operationId: request.key.id, isolation: request.isolation })
  } catch (error) {
    return (await isKnown(request.intent)) ? { ending: 'known' } : neverBegun(error)
  }
  const { key, user, interruption, mode, emitNow } = request
  const { node } = key
  const { intent } = request
  const identity = { operationId: key.id, user, interruption, mode, node, intent, emitNow }
  let scope: TransactionScope<Db>
  try {
    scope = TransactionScope.of<Db>(identity, open, request.parts, request.rollbackEvents)
  } catch (error) {
    // A part could not be opened.
    await open.rollback()
    return neverBegun(error)
  }
  return await workAndCommit(database, request, { open, scope })
}

/** The ending of an operation whose transaction could not begin. */
export function neverBegun(error: unknown): Extract<AttemptResult<never>, { ending: 'rolled_back' }> {
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
): Promise<AttemptResult<Result>> {
  const hooksOf = hooksIn(scope)
  const rolledBack = (error: unknown): AttemptResult<Result> => {
    const code = codeOfFailure(error, open.failure, request.interruption.reason !== undefined)
    return { ending: 'rolled_back', error, code, affectedLayers: letGo(scope), hooksOf }
  }
  let events: readonly PendingEvent[] = []
  let append: Append | undefined
  const unknown = (error: unknown, result: Result): AttemptResult<Result> => {
    const emitted = append?.emitted ?? new Map<string, number>()
    return {
      ending: 'unknown',
      error,
      code: failureCode(error),
      affectedLayers: letGo(scope),
      hooksOf,
      emitted,
      result,
    }
  }
  let result: Result
  let flush: Flush
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
    events = scope.parts.collectEvents()
    const isNew = mutationPoint('flush before its intent') ? true : await request.intent
    const next = afterWork({ isNew, notedIn: request.notedIn, epoch: open.epoch })
    if (next.step === 'known') throw known
    if (next.step === 'rollBack') throw next.error
    await faultPoint('transaction.after-intent')
    append = request.log.flush(request.key, toResultJson(result), events)
    flush = scope.parts.collectFlush(
      append.statement,
      request.rollbackEvents.hasAny ? [forgetRollbackEvents(database.schema, request.key)] : [],
    )
    await faultPoint('transaction.before-commit')
  } catch (error) {
    scope.closeAll()
    if (error === known) {
      // Roll back without waiting: the caller has an answer already, and ending a statement that still runs by force
      // would cost the pool a connection for each copy.
      disregard(open.rollback())
      return { ending: 'known' }
    }
    await open.rollback()
    // A copy may fail by what the first has left, and before it is known that there was one.
    return (await isKnown(request.intent)) ? { ending: 'known' } : rolledBack(error)
  }
  const ending = await request.flushes.inTurn(events, () => {
    // Check for lateness last of all, since nothing else tells other nodes of this operation.
    const tooLate = request.intent === undefined ? request.late.refusalOf(request.since) : undefined
    if (tooLate !== undefined) return rollBack(open, tooLate)
    return request.trace.commit(() => open.commit(flush.statements))
  })
  await faultPoint('transaction.after-commit')
  if (mutationPoint('lost COMMIT guessed as committed') && ending.ending === 'unknown') {
    const landed = { offsets: new Map(), events: [] }
    const { epoch } = open
    return { ending: 'committed', result, landed, notifyParts() {}, hooksOf, epoch }
  }
  const end = afterCommit(ending, (answers) => flush.outcomeRow(answers), open.failure)
  if (end.step === 'rolledBack') return rolledBack(end.error)
  if (end.step === 'unknown') return unknown(end.error, result)
  let landed: Landed
  try {
    const places = append.landed(end.row)
    landed = 'then' in places ? await places : places
  } catch (error) {
    // Committed, and where its events stand is found out as after a lost answer.
    return unknown(error, result)
  }
  return {
    ending: 'committed',
    result,
    landed,
    notifyParts: (failed) => flush.committed(end.answers, failed),
    hooksOf,
    epoch: open.epoch,
  }
}

/** A function of its own: made where the flush is, the hooks would keep it in memory until the outcome is known. */
function hooksIn<Db>(scope: TransactionScope<Db>): HooksOf {
  return (ending) => scope.hooksOf(ending)
}

/** Lets go of the events: nobody needs them any more, and the operation may stay open for as long as the database is away. */
function letGo<Db>(scope: TransactionScope<Db>): readonly string[] {
  const { layers } = scope.parts
  scope.parts.forget()
  return layers
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

/** Error of this file alone: the id turned out to be known, so this copy of the work counts for nothing. */
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
      // Ignore a failure of the intent here: the code before the flush awaits the intent and deals with it.
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

import {
  coordinationEvents,
  phaseOf,
  runEvents,
  type Notice,
  type RunState,
  type RunStateData,
} from '../../protocol/index.ts'
import type { ErrorCode, Refusal } from '../../core/index.ts'
import { createNotice, type PartEvent, type RollbackOptions } from '../../transaction/index.ts'

/** Facts of a run that its events tell. */
export interface ShownRun {
  readonly id: string
  readonly task: string
  readonly channel: string
  readonly userId: string
}

/** The event that shows a run's state. */
export function stateEvent(
  run: ShownRun,
  {
    state,
    attempt,
    code,
  }: { readonly state: RunState; readonly attempt: number; readonly code?: string | undefined },
): PartEvent {
  const data: RunStateData = {
    runId: run.id,
    task: run.task,
    state,
    phase: phaseOf(state),
    attempt,
    startedBy: run.userId,
    ...(code === undefined ? {} : { code }),
  }
  return { channel: run.channel, type: runEvents.state, value: data }
}

/** Type of the notice of a run that failed: that of an operation. */
export const noticeType = coordinationEvents.transactionRolledBack

/** Layers beside the database on which a run is seen: its events, and the work itself. */
export const layersOfRuns: readonly string[] = ['websocket', 'agent']

const defaultUserMessage = 'This could not be finished.'

/** The final notice of a run. Clients know it by `runId`. @param refusal words of the task's own, where it has refused */
export function runNotice(run: ShownRun, code: ErrorCode, words: RollbackOptions, refusal?: Refusal): Notice {
  const notice = createNotice({
    operationId: run.id,
    operationName: run.task,
    rollback: { userMessage: defaultUserMessage, ...words },
    code,
    affectedLayers: ['database', ...layersOfRuns],
    refusal,
  })
  return { ...notice, runId: run.id }
}

import { LockstepError, type Clock } from '../../core/index.ts'

export interface StepTime {
  readonly clock: Clock
  /** Absent: as long as its run may take. */
  readonly timeoutMs: number | undefined
  /** Signal of the run. */
  readonly signal: AbortSignal
  /** Names the step in the error. */
  readonly who: string
}

/**
 * Runs the work of a step within its time. Its signal aborts with that of the run, and when the time is over; nobody waits
 * for work that goes on then.
 * @throws LS_STEP_TIMEOUT, and what the work throws
 */
export async function inStepTime<T>(
  { clock, timeoutMs, signal, who }: StepTime,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  if (timeoutMs === undefined) return work(signal)
  const controller = new AbortController()
  const abort = (): void => controller.abort(signal.reason)
  if (signal.aborted) abort()
  else signal.addEventListener('abort', abort, { once: true })
  let cancel = (): void => {}
  const over = new Promise<never>((_, reject) => {
    cancel = clock.after(timeoutMs, () => {
      const error = new LockstepError('LS_STEP_TIMEOUT', {
        message: `${who} had not returned after ${timeoutMs} ms.`,
      })
      controller.abort(error)
      reject(error)
    })
  })
  try {
    return await Promise.race([work(controller.signal), over])
  } finally {
    cancel()
    signal.removeEventListener('abort', abort)
  }
}

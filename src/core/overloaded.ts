import { LockstepError } from './errors.ts'

const shortestRetryMs = 100
const longestRetryMs = 10_000

/** The refusal of what could not be served in time, with when to come again. */
export function overloaded(waitMs: number): LockstepError {
  const retryAfterMs = Math.ceil(Math.min(longestRetryMs, Math.max(shortestRetryMs, waitMs)))
  // Refusals come by the thousand when there is no time for them, and where they were made is always in the admission.
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = 0
  const error = new LockstepError('LS_NODE_OVERLOADED', { details: { retryAfterMs } })
  Error.stackTraceLimit = stackTraceLimit
  return error
}

import { limits } from '../../protocol/index.ts'
import { LockstepError, messageOf } from '../../core/index.ts'

/** JSON text of an event's data. @throws LS_EVENT_TOO_LARGE; LS_EVENT_INVALID for what JSON cannot hold */
export function toEventJson(value: unknown, type: string): string {
  // JSON has no text for a missing value.
  const data = jsonOf(value, type) ?? 'null'
  if (Buffer.byteLength(data) > limits.maxEventBytes) {
    throw new LockstepError('LS_EVENT_TOO_LARGE', {
      message: `Event "${type}" has ${Buffer.byteLength(data)} bytes, at most ${limits.maxEventBytes} are allowed.`,
    })
  }
  return data
}

function jsonOf(value: unknown, type: string): string | undefined {
  try {
    return JSON.stringify(value)
  } catch (cause) {
    const message = `Event "${type}" cannot be written as JSON: ${messageOf(cause)}.`
    throw new LockstepError('LS_EVENT_INVALID', { message, cause })
  }
}

/** @throws LS_OPERATION_TOO_LARGE when an operation with so many events, or bytes of their data, may not be */
export function assertOperationSize({
  events,
  bytes,
}: {
  readonly events: number
  readonly bytes: number
}): void {
  const { maxOperationEvents, maxOperationBytes } = limits
  if (events <= maxOperationEvents && bytes <= maxOperationBytes) return
  const [given, most] =
    events > maxOperationEvents
      ? [`${events} events`, `${maxOperationEvents} events`]
      : [`events of ${bytes} bytes`, `${maxOperationBytes} bytes`]
  throw new LockstepError('LS_OPERATION_TOO_LARGE', {
    message:
      `With this one the operation emits ${given}; at most ${most} are allowed in all. Split it into several ` +
      'operations, or emit one event that says what to read again.',
  })
}

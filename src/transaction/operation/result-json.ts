import { mutationPoint } from '../../protocol/mutation-point.ts'
import { limits } from '../../protocol/index.ts'
import { LockstepError, messageOf } from '../../core/index.ts'

// Encodes the result before the COMMIT, so that a result that JSON or the reply cannot hold is a rollback and not a
// lost reply.
export function toResultJson(result: unknown): string | null {
  const text = jsonOf(result) ?? null
  if (text !== null && Buffer.byteLength(text) > limits.maxResultBytes) {
    throw new LockstepError('LS_RESULT_TOO_LARGE', {
      message: `The result has ${Buffer.byteLength(text)} bytes, at most ${limits.maxResultBytes} are allowed.`,
    })
  }
  return text
}

function jsonOf(result: unknown): string | undefined {
  try {
    return mutationPoint('replay forgets the result') ? undefined : JSON.stringify(result)
  } catch (cause) {
    const message = `The result cannot be written as JSON: ${messageOf(cause)}. Return what JSON can hold.`
    throw new LockstepError('LS_OPERATION_FAILED', { message, cause })
  }
}

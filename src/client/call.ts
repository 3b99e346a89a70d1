import type { Notice, PlainRefusal } from '../protocol/index.ts'
import { clientError } from './errors.ts'
import type { Call, FinalOutcome } from './pending-operation.ts'

/** Error that `call.result` throws for an operation that was rolled back. */
export class RolledBackError<Refused = PlainRefusal> extends Error {
  readonly notice: Notice
  /** Refusal of the application, where the operation declares it. */
  readonly refusal: Refused | undefined

  constructor(notice: Notice, refusal: Refused | undefined) {
    super(notice.userMessage)
    this.name = 'RolledBackError'
    this.notice = notice
    this.refusal = refusal
  }
}

export function createCall(id: string, outcome: Promise<FinalOutcome>): Call {
  let result: Promise<unknown> | undefined
  return {
    id,
    outcome,
    get result() {
      // Create the promise when it is asked for: a rejection that nobody reads is an error of the page.
      return (result ??= outcome.then(resultOf))
    },
  }
}

function resultOf(ended: FinalOutcome): unknown {
  if (ended.outcome === 'committed') return ended.result
  if (ended.outcome === 'rolled_back') throw new RolledBackError(ended.notice, ended.refusal)
  throw clientError('LS_CLIENT_NEVER_RECEIVED')
}

import { setMaxListeners } from 'node:events'
import { detach, errorCatalogue, isLockstepError, messageOf, type UserContext } from '../../core/index.ts'
import { replyCodes } from '../../protocol/index.ts'
import { userFields } from '../../auth/index.ts'
import type { GatewayLimits } from '../contract/gateway-options.ts'
import type { GatewayPorts, RpcHandler } from '../contract/ports.ts'
import type { AnswerCosts } from '../crowd/answer-costs.ts'
import { failureReply, methodUnknownReply, refusalReply, reply } from '../wire/replies.ts'

export interface CallHost {
  readonly id: string
  push(frame: string): void
  /** Counts against the user's pace. */
  charge(cost: number): void
  /** Open connections of its user on this node, at least 1: what a notice of a failed call is sent to. */
  readonly siblings: number
}

/**
 * Cost of a refusal, in commands: a refusal takes work too, so a client that goes on beyond a limit is read more
 * slowly.
 */
export const costOfRefusal = 10

export interface Call {
  readonly id: number
  readonly method: string
  readonly data: unknown
  readonly user: UserContext
}

/** The RPCs of one connection. They run side by side and are answered as they end. */
export class Calls {
  readonly #host: CallHost
  readonly #ports: GatewayPorts
  readonly #limits: GatewayLimits
  readonly #costs: AnswerCosts
  readonly #abort = new AbortController()
  #outstanding = 0

  constructor(host: CallHost, ports: GatewayPorts, limits: GatewayLimits, costs: AnswerCosts) {
    this.#host = host
    this.#ports = ports
    this.#limits = limits
    this.#costs = costs
    // Lift the limit of listeners: as many calls as are allowed may listen to the one signal.
    setMaxListeners(0, this.#abort.signal)
  }

  /** True while calls wait for their answers. */
  get isBusy(): boolean {
    return this.#outstanding > 0
  }

  call(call: Call): void {
    const handler = this.#ports.rpc(call.method)
    if (handler === undefined) {
      const nearest = this.#ports.nearestMethod?.(call.method)
      return this.#host.push(methodUnknownReply(call.id, call.method, nearest))
    }
    if (this.#outstanding >= this.#limits.maxOutstandingCalls) {
      this.#host.charge(costOfRefusal)
      return this.#host.push(refusalReply(call.id, 'LS_TOO_MANY_REQUESTS'))
    }
    this.#outstanding += 1
    // Count a long answer before it is made: commands that came together would else be read together, too.
    const expected = this.#costs.expected(call.method)
    if (expected > 0) this.#host.charge(expected)
    detach(this.#run(call, handler, expected), this.#ports.logger, `the answer to ${call.method}`)
  }

  /** The connection is gone. */
  abort(): void {
    this.#abort.abort()
  }

  async #run(call: Call, handler: RpcHandler, paid: number): Promise<void> {
    const requestId = `${this.#host.id}/${call.id}`
    let answer: string
    try {
      const { data } = call
      const user = Object.freeze({ ...call.user, requestId })
      const result = await handler({ data, user, signal: this.#abort.signal })
      // The notice of a failed call goes to every connection of its user, so the call costs as many messages as they have open here.
      if (isRolledBack(result)) this.#host.charge(this.#host.siblings)
      answer = this.#encode(call, result, requestId)
    } catch (error) {
      if (isLockstepError(error, 'LS_NODE_OVERLOADED')) this.#host.charge(costOfRefusal)
      this.#report(error, call, requestId)
      answer = failureReply(call.id, error, requestId)
    }
    this.#outstanding -= 1
    const cost = this.#costs.note(call.method, answer.length)
    if (cost !== paid) this.#host.charge(cost - paid)
    this.#host.push(answer)
  }

  #encode(call: Call, result: unknown, requestId: string): string {
    const data = JSON.stringify(result) as string | undefined
    const answer = reply(call.id, 'rpc', data === undefined ? '{}' : `{"data":${data}}`)
    const bytes = Buffer.byteLength(answer)
    if (bytes <= this.#limits.maxQueuedBytes / 2) return answer
    // Refuse the answer: it would end the connection as too slow, and the caller would ask again and again.
    this.#ports.logger.error(
      { requestId, method: call.method, bytes, ...userFields(call.user) },
      'rpc answer is too large',
    )
    return refusalReply(call.id, 'LS_ANSWER_TOO_LARGE')
  }

  #report(error: unknown, call: Call, requestId: string): void {
    const { logger } = this.#ports
    const fields = { error, requestId, method: call.method, ...userFields(call.user) }
    if (!isLockstepError(error)) logger.error(fields, `rpc failed: ${messageOf(error)}`)
    else if (errorCatalogue[error.code].reply === replyCodes.internal)
      logger.warn(fields, `rpc: ${error.code}`)
    // A check that answers neither yes nor no is a mistake of the application, and its caller is not told.
    else if ('answered' in error.details) logger.warn(fields, `rpc: ${error.message}`)
  }
}

function isRolledBack(result: unknown): boolean {
  return (Object(result) as { readonly outcome?: unknown }).outcome === 'rolled_back'
}

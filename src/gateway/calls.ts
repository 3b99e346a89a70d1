import { setMaxListeners } from 'node:events'
import { detach, errorCatalogue, isLockstepError, messageOf, type UserContext } from '../core/index.ts'
import { replyCodes } from '../protocol/index.ts'
import { userFields } from './identity.ts'
import type { GatewayLimits } from './options.ts'
import type { GatewayPorts, RpcHandler } from './ports.ts'
import { errorReply, failureReply, reply } from './replies.ts'

export interface CallHost {
  readonly id: string
  push(frame: string): void
  /** Counts against the user's pace. */
  charge(cost: number): void
}

/** In commands: whoever sends more than is taken is read more slowly, since to refuse costs, too. */
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
  readonly #abort = new AbortController()
  #outstanding = 0

  constructor(host: CallHost, ports: GatewayPorts, limits: GatewayLimits) {
    this.#host = host
    this.#ports = ports
    this.#limits = limits
    // As many calls as are allowed may listen to the one signal.
    setMaxListeners(0, this.#abort.signal)
  }

  /** Some are not answered yet. */
  get isBusy(): boolean {
    return this.#outstanding > 0
  }

  call(call: Call): void {
    const handler = this.#ports.rpc(call.method)
    if (handler === undefined) return this.#host.push(errorReply(call.id, replyCodes.methodNotFound))
    if (this.#outstanding >= this.#limits.maxOutstandingCalls) {
      this.#host.charge(costOfRefusal)
      return this.#host.push(errorReply(call.id, replyCodes.tooManyRequests))
    }
    this.#outstanding += 1
    detach(this.#run(call, handler), this.#ports.logger, `the answer to ${call.method}`)
  }

  /** The connection is gone. */
  abort(): void {
    this.#abort.abort()
  }

  async #run(call: Call, handler: RpcHandler): Promise<void> {
    const requestId = `${this.#host.id}/${call.id}`
    let answer: string
    try {
      const { data } = call
      const user = Object.freeze({ ...call.user, requestId })
      answer = this.#encode(call, await handler({ data, user, signal: this.#abort.signal }), requestId)
    } catch (error) {
      if (isLockstepError(error, 'LS_NODE_OVERLOADED')) this.#host.charge(costOfRefusal)
      this.#report(error, call, requestId)
      answer = failureReply(call.id, error, requestId)
    }
    this.#outstanding -= 1
    this.#host.push(answer)
  }

  #encode(call: Call, result: unknown, requestId: string): string {
    const data = JSON.stringify(result) as string | undefined
    const answer = reply(call.id, 'rpc', data === undefined ? '{}' : `{"data":${data}}`)
    const bytes = Buffer.byteLength(answer)
    if (bytes <= this.#limits.maxQueuedBytes / 2) return answer
    // It would end the connection as too slow; the caller would ask again, and again.
    this.#ports.logger.error(
      { requestId, method: call.method, bytes, ...userFields(call.user) },
      'rpc answer is too large',
    )
    return errorReply(call.id, replyCodes.limitExceeded, 'the answer is too large to send')
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

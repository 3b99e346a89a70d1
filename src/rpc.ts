import { LockstepError, type UserContext } from './core/index.ts'
import type { RpcHandler } from './gateway/index.ts'
import { reservedMethods, type Outcome, type OutcomeAnswer } from './protocol/index.ts'
import type { RollbackOptions } from './transaction/index.ts'

/** A declared operation or query, as a client's call sees it. */
export type CallablePart =
  | {
      readonly kind: 'operation'
      readonly name: string
      readonly rollback: RollbackOptions
      execute(options: {
        readonly input: unknown
        readonly user: UserContext
        readonly id: string
        readonly repeat: boolean
      }): Promise<{ readonly outcome: Outcome }>
    }
  | {
      readonly kind: 'query'
      readonly name: string
      execute(input: unknown, user: UserContext, signal: AbortSignal): Promise<unknown>
    }

/** What the application has declared, by name. */
export class Callables {
  readonly #parts = new Map<string, CallablePart>()

  /** @throws LS_CONFIG_INVALID */
  declare(part: CallablePart): void {
    const { name, kind } = part
    if (typeof name !== 'string' || !/^[a-z][a-zA-Z0-9_]{0,62}$/.test(name)) {
      throw new LockstepError('LS_CONFIG_INVALID', {
        message: `${JSON.stringify(name)} is no name for ${kind === 'query' ? 'a query' : 'an operation'}. It begins with a small letter and goes on with letters, digits and _, at most 63 in all, such as "send_message".`,
      })
    }
    const other = this.#parts.get(name)
    if (other !== undefined) {
      throw new LockstepError('LS_CONFIG_INVALID', {
        message: `"${name}" is declared already, as ${other.kind === 'query' ? 'a query' : 'an operation'}. Operations and queries share one space of names.`,
      })
    }
    this.#parts.set(part.name, part)
  }

  find(name: string): CallablePart | undefined {
    return this.#parts.get(name)
  }

  /** What is told of an operation that nobody here may have declared. */
  rollbackOf(name: string): RollbackOptions {
    const part = this.#parts.get(name)
    return part?.kind === 'operation' ? part.rollback : {}
  }
}

export interface RpcOptions {
  readonly callables: Pick<Callables, 'find'>
  readonly outcomes: (user: UserContext, data: unknown) => Promise<readonly OutcomeAnswer[]>
  /** Settles once the node can serve. */
  readonly ready: () => Promise<void>
}

/** Finds the handler of an RPC method among what the application has declared. */
export function createRpc(options: RpcOptions): (method: string) => RpcHandler | undefined {
  const { callables, outcomes, ready } = options
  return (method) => {
    if (method === reservedMethods.outcomes) {
      return async ({ data, user }) => {
        await ready()
        return { outcomes: await outcomes(user, data) }
      }
    }
    const part = callables.find(method)
    if (part === undefined) return undefined
    if (part.kind === 'query') {
      return async ({ data, user, signal }) => {
        await ready()
        return part.execute(data, user, signal)
      }
    }
    return async ({ data, user }) => {
      return (await part.execute({ ...toCall(data), user })).outcome
    }
  }
}

interface OperationCall {
  readonly id: string
  readonly input: unknown
  /** The caller may have sent this id before. */
  readonly repeat: boolean
}

function toCall(data: unknown): OperationCall {
  if (typeof data === 'object' && data !== null && 'id' in data && typeof data.id === 'string') {
    const repeat = 'repeat' in data && data.repeat === true
    return { id: data.id, input: 'input' in data ? data.input : undefined, repeat }
  }
  throw new LockstepError('LS_OPERATION_ID_INVALID', {
    message: 'Call an operation with { "id": "<uuid>", "input": … }.',
  })
}

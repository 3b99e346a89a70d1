import { describeGiven, LockstepError, nearestName, peek, type UserContext } from '../core/index.ts'
import type { RpcHandler } from '../gateway/index.ts'
import { reservedMethods, type Outcome, type OutcomeAnswer } from '../protocol/index.ts'
import type { RunCalls } from '../runs/index.ts'
import type { RollbackOptions } from '../transaction/index.ts'

/** Call of a client that has an outcome. */
interface ClientCall {
  readonly input: unknown
  readonly user: UserContext
  readonly id: string
  /** The caller may have sent this id before. */
  readonly repeat: boolean
}

/** A declared operation, query or task, as a client's call sees it. */
export type CallablePart =
  | {
      readonly kind: 'task'
      readonly name: string
      readonly internal: false
      /** Clients know its runs, and do not start any. */
      readonly isServerOnly: boolean
      readonly failure: RollbackOptions
      execute(call: ClientCall): Promise<{ readonly outcome: Outcome }>
    }
  | {
      readonly kind: 'operation'
      readonly name: string
      readonly internal: boolean
      readonly rollback: RollbackOptions
      execute(call: ClientCall): Promise<{ readonly outcome: Outcome }>
    }
  | {
      readonly kind: 'query'
      readonly name: string
      readonly internal: boolean
      execute(input: unknown, user: UserContext, signal: AbortSignal): Promise<unknown>
    }

const kinds = { operation: 'an operation', query: 'a query', task: 'a task' } as const

/** @throws LS_CONFIG_INVALID */
export function assertCallableName(name: unknown, kind: CallablePart['kind']): asserts name is string {
  // Steps, notices and settings of a task carry its name, and what begins so is Lockstep's own.
  if (kind === 'task' && name === 'lockstep') {
    throw new LockstepError('LS_CONFIG_INVALID', {
      message:
        '"lockstep" is no name for a task: what is called so, or begins with "lockstep.", is Lockstep\'s own. Choose another.',
    })
  }
  if (typeof name === 'string' && /^[a-z][a-zA-Z0-9_]{0,62}$/.test(name)) return
  const given = typeof name === 'string' ? JSON.stringify(name) : describeGiven(name)
  throw new LockstepError('LS_CONFIG_INVALID', {
    message: `${given} is no name for ${kinds[kind]}. It begins with a small letter and goes on with letters, digits and _, at most 63 in all, such as "send_message".`,
  })
}

/** Operations, queries and tasks that the application has declared, by name. */
export class Callables {
  readonly #parts = new Map<string, CallablePart>()

  /** @throws LS_CONFIG_INVALID */
  declare(part: CallablePart): void {
    const { name, kind } = part
    assertCallableName(name, kind)
    const other = this.#parts.get(name)
    if (other !== undefined) {
      throw new LockstepError('LS_CONFIG_INVALID', {
        message: `"${name}" is declared already, as ${kinds[other.kind]}. Operations, queries and tasks share one space of names.`,
      })
    }
    this.#parts.set(part.name, part)
  }

  /** The part that a client may call; undefined for an internal one, as for one that is not declared. */
  find(name: string): CallablePart | undefined {
    const part = this.#parts.get(name)
    return part?.internal === true ? undefined : part
  }

  /** The name of a part that clients may call, nearest to one that is not declared. */
  nearest(name: string): string | undefined {
    const open = [...this.#parts.values()].filter((part) => !part.internal && !isServerOnly(part))
    return nearestName(
      name,
      open.map((part) => part.name),
    )
  }

  /** Rollback options of a declared operation; the defaults for a name that this node does not know. */
  rollbackOf(name: string): RollbackOptions {
    const part = this.#parts.get(name)
    if (part?.kind === 'task') return part.failure
    return part?.kind === 'operation' ? part.rollback : {}
  }
}

function isServerOnly(part: CallablePart): boolean {
  return part.kind === 'task' && part.isServerOnly
}

export interface RpcOptions {
  readonly callables: Pick<Callables, 'find'>
  readonly runs: Pick<RunCalls<unknown>, 'stop' | 'get' | 'list'>
  readonly outcomes: (user: UserContext, data: unknown) => Promise<readonly OutcomeAnswer[]>
  /** Answers open drafts of a channel to whoever may subscribe to it. */
  readonly drafts: (user: UserContext, channel: unknown) => Promise<unknown>
  /** Settles once the node can serve. */
  readonly ready: () => Promise<void>
}

/** Finds the handler of an RPC method among what the application has declared. */
export function createRpc(options: RpcOptions): (method: string) => RpcHandler | undefined {
  const { callables, outcomes, drafts, runs, ready } = options
  const reserved: Readonly<Record<string, RpcHandler>> = {
    [reservedMethods.outcomes]: async ({ data, user }) => ({ outcomes: await outcomes(user, data) }),
    [reservedMethods.stopRun]: ({ data, user }) =>
      runs.stop({ ...toCall(data), runId: peek(data, 'runId'), user }),
    [reservedMethods.getRun]: ({ data, user }) => runs.get(peek(data, 'runId'), user),
    [reservedMethods.drafts]: ({ data, user }) => drafts(user, peek(data, 'channel')),
    [reservedMethods.listRuns]: ({ data, user }) => runs.list(peek(data, 'channel'), user),
  }
  return (method) => {
    const own = Object.hasOwn(reserved, method) ? reserved[method] : undefined
    if (own !== undefined) {
      return async (request) => {
        await ready()
        return own(request)
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
      if (isServerOnly(part)) {
        throw new LockstepError('LS_TASK_INTERNAL', {
          message: `Task "${part.name}" is started by the server only. To let clients start it, give it authorize.`,
        })
      }
      return (await part.execute({ ...toCall(data), user })).outcome
    }
  }
}

function toCall(data: unknown): Omit<ClientCall, 'user'> {
  if (typeof data === 'object' && data !== null && 'id' in data && typeof data.id === 'string') {
    const repeat = 'repeat' in data && data.repeat === true
    return { id: data.id, input: 'input' in data ? data.input : undefined, repeat }
  }
  throw new LockstepError('LS_OPERATION_ID_INVALID', {
    message: 'Call an operation with { "id": "<uuid>", "input": … }.',
  })
}

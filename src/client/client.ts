import type { AppShape, PlainRefusal, RunEventTypes, RunRef } from '../protocol/index.ts'
import type { OperationStorage } from './browser.ts'
import type { Channel, ChannelOptions } from './client-channel.ts'
import type { Connection } from './connection.ts'
import type { Off } from './listeners.ts'
import type { Notices } from './notices.ts'
import type { Call, CallOptions, FinalOutcome, PendingOperation } from './pending-operation.ts'
import type { Run, StartedRun } from './run.ts'
import type { StoredOperation } from './stored-operations.ts'

export interface ClientOptions {
  /** Address of the gateway: `wss://…`, `https://…`, or a path on the page's own host. */
  readonly url: string
  /**
   * A fresh token (JWT) of the signed-in user; asked for at the first connection and whenever one expired. Absent: the
   * browser sends the page's cookies, and the server's `auth` sees the request.
   */
  readonly getToken?: () => Promise<string>
  /**
   * Storage in which operations without an outcome, and the ids of notices just shown, survive a page reload. Default
   * `localStorage`, where there is one; `null` for memory only. One that throws is as good as none.
   */
  readonly storage?: OperationStorage | null
  /** First part of the storage's keys. Default `lockstep`. Give each server of one origin its own. */
  readonly storageKey?: string
  /**
   * Id of the user whose operations the storage holds. Default: the token's `sub`, with its `tenant` if there is one,
   * or else the id that the server sends. Set it to remember calls made before the first token arrived.
   */
  readonly user?: string
  /**
   * How long an operation of an earlier page is asked for, in milliseconds. Default 6 days; keep it under the
   * server's `operationRetentionMs` (7 days), since a server that forgot an operation says it never came.
   */
  readonly rememberForMs?: number
  /** A WebSocket class, for Node before 22: that of the `ws` package fits. */
  readonly websocket?: unknown
  /** False: wait for `connection.connect()`. Default true. */
  readonly autoConnect?: boolean
  /** Shortest wait before reconnecting, asking again and sending again, in milliseconds. Default 500. */
  readonly minReconnectDelayMs?: number
  /** Longest of these waits, in milliseconds. Default 20,000. */
  readonly maxReconnectDelayMs?: number
  /** Longest wait for a connection or a reply, in milliseconds. Default 10,000. */
  readonly timeoutMs?: number
  /**
   * How long a call, and a channel's `ready`, wait for a connection before they reject, in milliseconds. Default
   * 30,000; `Infinity` waits for ever.
   */
  readonly waitForConnectionMs?: number
  /**
   * Hears of what no caller waits for: a connection that cannot be made (once, not for each
   * attempt), a channel that was refused, a listener that threw. Default: the console.
   */
  readonly onError?: (error: unknown) => void
}

type Key<Names> = keyof Names & string

/** Refusals of an operation; any, where its types do not say. */
type RefusalOf<Operation> = Operation extends { readonly refusal: infer Refused } ? Refused : PlainRefusal

/** Arguments after the name. Without an `App` type every input is allowed, and so is none. */
type CallArguments<Input, Options> = undefined extends Input
  ? [input?: Input, options?: Options]
  : [input: Input, options?: Options]

/** Tasks of an application; none where its types have none. */
type TasksOf<App> =
  Required<App> extends { readonly tasks: infer Tasks extends NonNullable<AppShape['tasks']> } ? Tasks : {}

/** Types of one task, for the run of it. */
type RunOf<Name extends string, Task, Started = false> = Task extends {
  readonly result: infer Result
}
  ? Started extends true
    ? StartedRun<Name, Result, RefusalOf<Task>, ProgressOf<Task>, DraftsOf<Task>>
    : Run<Name, Result, RefusalOf<Task>, ProgressOf<Task>, DraftsOf<Task>>
  : never

/** Drafts of a channel or a task; none where its types have none. */
type DraftsOf<Shown> = Required<Shown> extends { readonly drafts: infer Drafts } ? Drafts : {}

type ProgressOf<Task> = Task extends { readonly progress?: infer Progress } ? Progress : unknown
type InputOf<Task> = Task extends { readonly input: infer Input } ? Input : never

export interface StartOptions {
  /** The run's id, a UUID in lower case: the idempotency key. */
  readonly id?: string
}

/** Operations on their way to an outcome. */
export interface ClientOperations {
  /** Operations without an outcome, also of earlier pages. The same array until it changes. */
  readonly pending: readonly PendingOperation[]
  on(event: 'change', listener: (pending: readonly PendingOperation[]) => void): Off
  /**
   * Each outcome once, also of operations that an earlier page called. Those wait until there is a listener. An
   * operation that was not accepted has no outcome and only rejects its call.
   */
  on(event: 'settled', listener: (operation: StoredOperation, outcome: FinalOutcome) => void): Off
}

export interface Client<App extends AppShape = AppShape> {
  readonly connection: Connection
  readonly operations: ClientOperations
  readonly notices: Notices
  /** Short for `operations.pending`. */
  readonly pending: readonly PendingOperation[]
  /**
   * Joins a channel. A second handle of one channel shares its subscription, from now on and without a state of
   * its own.
   * @throws LockstepClientError (LS_CLIENT_CONFIG_INVALID) when `getState` or `since` come too late for that, and for options
   * of a wrong kind
   */
  channel<const Name extends Key<App['channels']>>(
    name: Name,
    options?: ChannelOptions,
  ): Channel<App['channels'][Name]['events'] & RunEventTypes, DraftsOf<App['channels'][Name]>>
  /**
   * Calls an operation. It is remembered before it is sent. Without a connection it is queued. A reply that was
   * lost is neither guessed nor sent again: the server is asked what became of the operation. When the server has too
   * much to do it is sent again, for as long as that takes; when it says "not now" for another reason, six times in all.
   */
  call<const Name extends Key<App['operations']>>(
    name: Name,
    ...rest: CallArguments<App['operations'][Name]['input'], CallOptions>
  ): Call<App['operations'][Name]['result'], RefusalOf<App['operations'][Name]>>
  /** @throws LockstepClientError when the server refuses, or no reply comes; `retryable` says whether to try again */
  query<const Name extends Key<App['queries']>>(
    name: Name,
    ...rest: CallArguments<App['queries'][Name]['input'], never>
  ): Promise<App['queries'][Name]['result']>
  /**
   * Starts a run of a task, by an operation whose id is the run's: what is said of `call` is true of it. The run is followed
   * until its end, or until it is closed.
   */
  start<const Name extends Key<TasksOf<App>>>(
    name: Name,
    ...rest: CallArguments<InputOf<TasksOf<App>[Name]>, StartOptions>
  ): RunOf<Name, TasksOf<App>[Name], true>
  /** Follows a run that was started before, here or elsewhere: by its ref, or by the name of its task and its id. */
  run<const Name extends Key<TasksOf<App>>>(ref: RunRef<Name>): RunOf<Name, TasksOf<App>[Name]>
  run<const Name extends Key<TasksOf<App>>>(task: Name, id: string): RunOf<Name, TasksOf<App>[Name]>
  /**
   * Runs of a channel that have not ended, of everybody, the newest first.
   * @throws LockstepClientError, as `query` does
   */
  runs(channel: Key<App['channels']>): Promise<readonly RunRef<Key<TasksOf<App>>>[]>
  /**
   * Disconnects for good. Calls without an outcome reject (LS_CLIENT_CLOSED); the next client of the same user
   * and storage learns what became of them.
   */
  close(): void
}

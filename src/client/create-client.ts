import { coordinationEvents, retryAfterMsOf, type AppShape, type Notice } from '../protocol/index.ts'
import { later } from './backoff.ts'
import { localStorageOrNone, type OperationStorage } from './browser.ts'
import { ChannelFeed } from './channel-feed.ts'
import { ChannelHandle, type Channel, type ChannelOptions } from './channel.ts'
import { ClientConnection, type Connection } from './connection.ts'
import { callSafely, detach } from './detach.ts'
import { clientError, fromWireError, LockstepClientError, toWireError } from './errors.ts'
import type { ErrorListener, Off } from './listeners.ts'
import { NoticeBoard, type Notices } from './notices.ts'
import { Operations } from './operations.ts'
import { Patience } from './patience.ts'
import { inputRefusal } from './pending-operation.ts'
import type { Call, CallOptions, FinalOutcome, PendingOperation } from './pending-operation.ts'
import { jittered } from './sending-window.ts'
import { StoredOperations, type StoredOperation } from './stored-operations.ts'
import { ToldNotices } from './told-notices.ts'
import { UserStorage } from './user-storage.ts'

export interface ClientOptions {
  /** Where the gateway listens: `wss://…`, `https://…`, or a path on the page's own host. */
  readonly url: string
  /** A fresh token (JWT) of the signed-in user; asked for at the first connection and whenever one expired. */
  readonly getToken: () => Promise<string>
  /**
   * Where operations without an outcome survive a page reload, and the ids of notices just told. Default
   * `localStorage`, where there is one; `null` for memory only. One that throws is as good as none.
   */
  readonly storage?: OperationStorage | null
  /** First part of the storage's keys. Default `lockstep`. Give each server of one origin its own. */
  readonly storageKey?: string
  /**
   * Whose operations the storage holds. Default: the token's `sub`, with its `tenant` if there is one, else what the
   * server says. Give it to remember calls made before the first token arrived.
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
  /** How long to wait for a connection or a reply, in milliseconds. Default 10,000. */
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

/** A page that is reloaded comes back for its operations itself; other tabs leave it that long, in milliseconds. */
const reloadMs = 3_000
/** How often one query is sent while the server has too much to do. */
const maxQueryAttempts = 6
const dayMs = 24 * 60 * 60 * 1_000

type Key<Names> = keyof Names & string

/** Without an `App` type every input is allowed, and so is none. */
type CallArguments<Input, Options> = undefined extends Input
  ? [input?: Input, options?: Options]
  : [input: Input, options?: Options]

/** Operations on their way to an outcome. */
export interface ClientOperations {
  /** Those without an outcome, also of earlier pages. The same array until it changes. */
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
   * @throws LockstepClientError (LS_CLIENT_CONFIG_INVALID) when `getState` or `since` come too late for that
   */
  channel<const Name extends Key<App['channels']>>(
    name: Name,
    options?: ChannelOptions,
  ): Channel<App['channels'][Name]>
  /**
   * Calls an operation. It is remembered before it is sent. Without a connection it is queued. A reply that was
   * lost is neither guessed nor sent again: the server is asked what became of the operation. When the server has too
   * much to do it is sent again, for as long as that takes; when it says "not now" for another reason, six times in all.
   */
  call<const Name extends Key<App['operations']>>(
    name: Name,
    ...rest: CallArguments<App['operations'][Name]['input'], CallOptions>
  ): Call<App['operations'][Name]['result']>
  /** @throws LockstepClientError when the server refuses, or no reply comes; `retryable` says whether to try again */
  query<const Name extends Key<App['queries']>>(
    name: Name,
    ...rest: CallArguments<App['queries'][Name]['input'], never>
  ): Promise<App['queries'][Name]['result']>
  /**
   * Disconnects for good. Calls without an outcome reject (LS_CLIENT_CLOSED); the next client of the same user
   * and storage learns what became of them.
   */
  close(): void
}

/**
 * Connects to a Lockstep gateway. Close the client and make a new one when another user signs in.
 * @throws LockstepClientError (LS_CLIENT_CONFIG_INVALID) for a URL it cannot use, or without a WebSocket class
 */
export function createClient<App extends AppShape = AppShape>(options: ClientOptions): Client<App> {
  const { storageKey = 'lockstep' } = options
  const onError = toReporter(options.onError)
  const delays = { minMs: options.minReconnectDelayMs ?? 500, maxMs: options.maxReconnectDelayMs ?? 20_000 }
  const storage = new UserStorage(
    options.storage === undefined ? localStorageOrNone() : (options.storage ?? undefined),
    storageKey,
  )
  const feeds = new Map<string, ChannelFeed>()
  let user: string | undefined
  let closed = false

  const told = new ToldNotices(storage)
  const notices = new NoticeBoard({
    onError,
    onListener: () => {
      operations.deliverUnheard()
    },
    onTell: (id) => {
      told.add(id)
    },
  })
  const stored = new StoredOperations({
    storage,
    rememberForMs: options.rememberForMs ?? 6 * dayMs,
    onAbandoned: () => {
      later(() => detach(operations.takeOver(), onError), Math.min(reloadMs, delays.maxMs))
    },
  })
  const patience = new Patience({
    waitMs: options.waitForConnectionMs ?? 30_000,
    isConnected: () => connection.state === 'connected',
    error: () => connection.error,
  })
  const operations = new Operations({
    patience,
    rpc: (method, data) => connection.rpc(method, data),
    stored,
    notices,
    delays,
    onError,
  })
  const useUser = (id: string): void => {
    if (user !== undefined) return
    user = id
    storage.open(id)
    // What earlier pages told. Not looked at again: what another living tab tells, this one has to tell as well.
    for (const toldId of [...told.ids(), ...stored.toldIds()]) notices.silence(toldId)
    operations.saveAll()
  }
  const connection = new ClientConnection({
    ...options,
    delays,
    timeoutMs: options.timeoutMs ?? 10_000,
    onError,
    onOnline: () => {
      operations.start()
    },
    onOffline: () => {
      operations.stop()
      for (const feed of feeds.values()) feed.awaitConnection()
    },
    onEnded: (error) => {
      operations.end(error)
      for (const feed of feeds.values()) feed.ended(error)
    },
    onUser: useUser,
    onUserEvent: (event) => {
      const notice = noticeOf(event)
      if (notice === undefined) return
      operations.settle({ outcome: 'rolled_back', operationId: notice.transactionId, notice })
    },
    onUserReset: () => {
      notices.reset()
    },
  })

  const openChannel = (name: string, channelOptions: ChannelOptions = {}): Channel => {
    if (closed) throw clientError('LS_CLIENT_CLOSED')
    let feed = feeds.get(name)
    if (feed === undefined) {
      const onEmpty = (): void => {
        feeds.delete(name)
      }
      feed = new ChannelFeed({
        ...channelOptions,
        name,
        centrifuge: connection.centrifuge,
        acknowledgements: connection.acknowledgements,
        delays,
        patience,
        onError,
        onEmpty,
      })
      feeds.set(name, feed)
    } else if (channelOptions.getState !== undefined || channelOptions.since !== undefined) {
      const message = `The channel "${name}" is open already. Give getState or since where it is opened first.`
      throw clientError('LS_CLIENT_CONFIG_INVALID', message)
    }
    return new ChannelHandle(feed)
  }

  const onOperations = (event: 'change' | 'settled', listener: (...args: never[]) => void): Off =>
    event === 'change'
      ? operations.onChange(listener as Parameters<Operations['onChange']>[0])
      : operations.onSettled(listener as Parameters<Operations['onSettled']>[0])

  const query = async (name: string, input?: unknown): Promise<unknown> => {
    const refusal = closed ? clientError('LS_CLIENT_CLOSED') : inputRefusal(input)
    if (refusal !== undefined) throw refusal
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await connection.rpc(name, input)
      } catch (thrown) {
        const retryAfterMs = retryAfterMsOf(toWireError(thrown).message)
        if (closed || retryAfterMs === undefined || attempt >= maxQueryAttempts) {
          const error = fromWireError(thrown)
          // Without a connection the package says only that there is none.
          throw error.code < 100 ? (connection.error ?? error) : error
        }
        await new Promise<void>((resolve) => later(resolve, jittered(retryAfterMs)))
      }
    }
  }

  const client = {
    connection,
    notices,
    operations: {
      get pending() {
        return operations.pending
      },
      on: onOperations,
    },
    get pending() {
      return operations.pending
    },
    channel: openChannel,
    call: (name: string, input?: unknown, callOptions?: CallOptions) =>
      operations.call(name, input, callOptions),
    query,
    close: () => {
      if (closed) return
      closed = true
      for (const feed of feeds.values()) feed.close()
      feeds.clear()
      operations.close()
      connection.close()
    },
  }

  if (options.user !== undefined) useUser(options.user)
  if (options.autoConnect !== false) connection.connect()
  // The types of names and data exist at compile time only.
  return client as unknown as Client<App>
}

function noticeOf(event: unknown): Notice | undefined {
  const { type, data } = Object(event) as { type?: unknown; data?: unknown }
  if (type !== coordinationEvents.transactionRolledBack) return undefined
  const { transactionId } = Object(data) as { transactionId?: unknown }
  return typeof transactionId === 'string' ? (data as Notice) : undefined
}

/** Never throws: errors are reported where nobody is left to throw at. */
function toReporter(onError: ClientOptions['onError']): ErrorListener {
  return onError === undefined ? reportToConsole : (error) => callSafely(onError, [error], reportToConsole)
}

function reportToConsole(error: unknown): void {
  try {
    const isClientError = error instanceof LockstepClientError
    // oxlint-disable-next-line no-console -- the place of last resort, when the application names none
    console.error(...(isClientError ? [`lockstep: ${error.message}`] : ['lockstep:', error]))
  } catch {
    // A value that cannot even be shown.
  }
}

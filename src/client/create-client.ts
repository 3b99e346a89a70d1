import {
  rolledBackEvent,
  retryAfterMsOf,
  type AppShape,
  type Notice,
  type RunRef,
} from '../protocol/index.ts'
import { later, type Delays } from './backoff.ts'
import { globalWebSocket, localStorageOrNone } from './browser.ts'
import { Channels } from './channels.ts'
import type { Channel, ChannelOptions } from './client-channel.ts'
import type { Client, ClientOptions, StartOptions } from './client.ts'
import { ClientConnection } from './client-connection.ts'
import { callSafely, detach } from './detach.ts'
import { clientError, fromWireError, LockstepClientError, toWireError } from './errors.ts'
import { assertEvent, type ErrorListener, type Off } from './listeners.ts'
import { NoticeBoard } from './notices.ts'
import { Operations } from './operations.ts'
import { abortSignal, assertKind, assertOptions, delay, duration, misuse } from './client-options.ts'
import { createConnectionWait } from './connection-wait.ts'
import { sendableBytes } from './pending-operation.ts'
import type { CallOptions } from './pending-operation.ts'
import { Runs } from './runs.ts'
import { jittered } from './sending-window.ts'
import { StoredOperations } from './stored-operations.ts'
import { ShownNotices } from './shown-notices.ts'
import { UserStorage } from './user-storage.ts'

/** A page that is reloaded comes back for its operations itself; other tabs leave it that long, in milliseconds. */
const reloadMs = 3_000
/** Attempts at one query while the server has too much to do. */
const maxQueryAttempts = 6
/** Name by which the user's own channel is known here: whose it is comes from the server. */
const ownChannel = 'user:'
const dayMs = 24 * 60 * 60 * 1_000

const optionKinds = {
  url: 'string',
  getToken: 'function',
  storage: 'object',
  storageKey: 'string',
  user: 'string',
  rememberForMs: duration,
  websocket: 'function',
  autoConnect: 'boolean',
  minReconnectDelayMs: delay,
  maxReconnectDelayMs: delay,
  timeoutMs: delay,
  waitForConnectionMs: duration,
  onError: 'function',
} satisfies Record<keyof ClientOptions, string>

/**
 * Connects to a Lockstep gateway. Close the client and make a new one when another user signs in.
 * @throws LockstepClientError (LS_CLIENT_CONFIG_INVALID) for an option that there is not or of a wrong kind, for a URL it
 * cannot use, and where there is no WebSocket class: Node has one from 22 on
 */
export function createClient<App extends AppShape = AppShape>(options: ClientOptions): Client<App> {
  assertOptions('createClient', options, optionKinds)
  if ((options.websocket ?? globalWebSocket()) === undefined) {
    throw misuse('Node before 22 has no WebSocket. Add websocket: WebSocket, of the package ws.')
  }
  const { storage: givenStorage = localStorageOrNone(), storageKey = 'lockstep' } = options
  const onError = toReporter(options.onError)
  const delays = delaysOf(options)
  const storage = new UserStorage(givenStorage ?? undefined, storageKey)
  let user: string | undefined
  let closed = false

  const shown = new ShownNotices(storage)
  const notices = new NoticeBoard({
    onError,
    onListener: () => {
      operations.deliver()
    },
    stored: shown,
  })
  const stored = new StoredOperations({
    storage,
    rememberForMs: options.rememberForMs ?? 6 * dayMs,
    onAbandoned: () => {
      later(() => detach(operations.takeOver(), onError), Math.min(reloadMs, delays.maxMs))
    },
  })
  const connectionWait = createConnectionWait({
    waitMs: options.waitForConnectionMs ?? 30_000,
    isConnected: () => connection.state === 'connected',
    error: () => connection.error,
  })
  const operations = new Operations({
    connectionWait,
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
    // Marks what earlier pages have shown. Read once: this tab has to show as well what another living tab shows.
    for (const shownId of [...shown.ids(), ...stored.reportedIds()]) notices.markShown(shownId)
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
      channels.offline()
    },
    onEnded: (error) => {
      operations.end(error)
      channels.ended(error)
      runs.end(error)
    },
    onUser: useUser,
    onUserEvent: (event) => {
      runs.hear(event)
      const notice = noticeOf(event)
      if (notice === undefined) return
      // The start of a run that has failed has committed: its outcome is another one.
      if (notice.runId !== undefined) notices.report(notice)
      else operations.settle({ outcome: 'rolled_back', operationId: notice.transactionId, notice })
    },
    onUserReset: () => {
      notices.reset()
      runs.joined(ownChannel, { recovered: false, data: undefined })
    },
  })
  const channels = new Channels({
    centrifuge: connection.centrifuge,
    acknowledgements: connection.acknowledgements,
    delays,
    connectionWait,
    onError,
    onEvent: (event) => runs.hear(event),
    onJoined: (channel, joined) => runs.joined(channel, joined),
    onDraft: (draft) => runs.draftChanged(draft),
  })

  const openChannel = (name: string, channelOptions?: ChannelOptions): Channel => {
    if (closed) throw clientError('LS_CLIENT_CLOSED')
    return channels.open(name, channelOptions)
  }

  const onOperations = (event: 'change' | 'settled', listener: (...args: never[]) => void): Off => {
    assertEvent(event, 'change', 'settled')
    return event === 'change'
      ? operations.onChange(listener as Parameters<Operations['onChange']>[0])
      : operations.onSettled(listener as Parameters<Operations['onSettled']>[0])
  }

  const query = async (name: string, input?: unknown): Promise<unknown> => {
    if (closed) throw clientError('LS_CLIENT_CLOSED')
    assertKind('The name of a query', name, 'string')
    sendableBytes(input)
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await connection.rpc(name, input)
      } catch (thrown) {
        const retryAfterMs = retryAfterMsOf(toWireError(thrown).message)
        if (closed || retryAfterMs === undefined || attempt >= maxQueryAttempts) {
          const error = fromWireError(thrown)
          // The package says only that there is no connection, and not why.
          throw error.code < 100 ? (connection.error ?? error) : error
        }
        await new Promise<void>((resolve) => later(resolve, jittered(retryAfterMs)))
      }
    }
  }

  const runs = new Runs({
    delays,
    onError,
    query,
    call: (name, input) => operations.call(name, input, {}),
    draftOf: (name, runId, draft) => channels.draftOf(name, runId, draft),
    // The user's own channel is joined with the connection.
    follow: (name) =>
      name.startsWith(ownChannel) ? { isJoined: true, off: () => {} } : channels.follow(name),
  })

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
    call: (name: string, input?: unknown, callOptions: CallOptions = {}) => {
      assertKind('The name of an operation', name, 'string')
      assertOptions('call', callOptions, { id: 'string', signal: abortSignal })
      return operations.call(name, input, callOptions)
    },
    query,
    start: (name: string, input?: unknown, startOptions: StartOptions = {}) => {
      assertKind('The name of a task', name, 'string')
      assertOptions('start', startOptions, { id: 'string' })
      const call = operations.call(name, input, startOptions)
      return runs.open({ id: call.id, task: name }, call)
    },
    run: (run: RunRef | string, id?: string) => {
      if (closed) throw clientError('LS_CLIENT_CLOSED')
      return runs.open(typeof run === 'string' ? ({ id, task: run } as RunRef) : run)
    },
    runs: (name: string) => runs.list(name),
    close: () => {
      if (closed) return
      closed = true
      runs.end(clientError('LS_CLIENT_CLOSED'))
      channels.close()
      operations.close()
      connection.close()
    },
  }

  if (options.user !== undefined) useUser(options.user)
  if (options.autoConnect !== false) connection.connect()
  // The types of names and data exist at compile time only.
  return client as unknown as Client<App>
}

function delaysOf(options: ClientOptions): Delays {
  const { minReconnectDelayMs: minMs = 500, maxReconnectDelayMs: maxMs = 20_000 } = options
  if (minMs <= maxMs) return { minMs, maxMs }
  throw misuse(`minReconnectDelayMs (${minMs}) must not be above maxReconnectDelayMs (${maxMs}).`)
}

function noticeOf(event: unknown): Notice | undefined {
  const { type, data } = Object(event) as { type?: unknown; data?: unknown }
  if (type !== rolledBackEvent) return undefined
  const { transactionId } = Object(data) as { transactionId?: unknown }
  return typeof transactionId === 'string' ? (data as Notice) : undefined
}

/** Reports errors instead of throwing, because no caller is left to throw at. */
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

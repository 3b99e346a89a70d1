import { Centrifuge, UnauthorizedError } from 'centrifuge'
import { replyCodes } from '../protocol/index.ts'
import { Acknowledgements } from './acknowledgements.ts'
import type { Delays } from './backoff.ts'
import { pageUrl } from './browser.ts'
import { clientError, fromWireError } from './errors.ts'
import { Listeners, type ErrorListener, type Off } from './listeners.ts'

export type ConnectionState = 'connecting' | 'connected' | 'disconnected'

export interface DisconnectReason {
  /** A WebSocket close code of the server (3000 to 4999, see `closeCodes`), or below 100 one of the client. */
  readonly code: number
  readonly reason: string
}

/** The one WebSocket that everything of a client goes over. It reconnects by itself. */
export interface Connection {
  readonly state: ConnectionState
  /** Why the last connection ended; undefined while connected. Final once `state` is `disconnected`. */
  readonly disconnectReason: DisconnectReason | undefined
  on(event: 'change', listener: (state: ConnectionState) => void): Off
  /** Connects, also after the server refused for good. Does nothing while connected, and once the client is closed. */
  connect(): void
  /** Ends the connection until `connect` is called. Calls made meanwhile are queued. */
  disconnect(): void
}

export interface ConnectionOptions {
  readonly url: string
  readonly getToken: () => Promise<string>
  readonly websocket?: unknown
  readonly delays: Delays
  readonly timeoutMs: number
  readonly onError: ErrorListener
  /** The connection stands, and what was recovered on the user's channel has been delivered. */
  readonly onOnline: () => void
  readonly onOffline: () => void
  /** The id of the signed-in user, from the token before connecting and from the server after it. */
  readonly onUser: (userId: string) => void
  /** Something on the user's own channel. */
  readonly onUserEvent: (data: unknown) => void
  /** Events of the user's own channel were missed for good. */
  readonly onUserReset: () => void
}

const userChannelPrefix = 'user:'

export class ClientConnection implements Connection {
  readonly centrifuge: Centrifuge
  readonly acknowledgements: Acknowledgements
  readonly #options: ConnectionOptions
  readonly #onChange: Listeners<[ConnectionState]>
  /** What each source said of the user, so that a change is seen: the token, the server's channel. */
  readonly #users = new Map<'token' | 'server', string>()
  #state: ConnectionState = 'disconnected'
  #closed = false
  #disconnectReason: DisconnectReason | undefined

  constructor(options: ConnectionOptions) {
    this.#options = options
    this.#onChange = new Listeners(options.onError)
    this.centrifuge = new Centrifuge(resolveUrl(options.url), {
      getToken: () => this.#getToken(),
      minReconnectDelay: options.delays.minMs,
      maxReconnectDelay: options.delays.maxMs,
      timeout: options.timeoutMs,
      name: 'lockstep',
      ...(options.websocket === undefined ? {} : { websocket: options.websocket }),
    })
    this.acknowledgements = new Acknowledgements(this.centrifuge)
    this.#listen()
  }

  get state(): ConnectionState {
    return this.#state
  }

  get disconnectReason(): DisconnectReason | undefined {
    return this.#disconnectReason
  }

  on(_event: 'change', listener: (state: ConnectionState) => void): Off {
    return this.#onChange.add(listener)
  }

  connect(): void {
    if (!this.#closed) this.centrifuge.connect()
  }

  disconnect(): void {
    this.centrifuge.disconnect()
  }

  close(): void {
    this.#closed = true
    this.disconnect()
  }

  async rpc(method: string, data: unknown): Promise<unknown> {
    const reply = await this.centrifuge.rpc(method, data)
    return reply.data as unknown
  }

  // Whatever a listener of the package throws stops its client for good, hence none of these may throw.
  #listen(): void {
    const { onError, onOnline, onOffline, onUserEvent, onUserReset } = this.#options
    this.centrifuge.on('connecting', ({ code, reason }) => {
      this.#move('connecting', code === 0 ? undefined : { code, reason })
      onOffline()
    })
    this.centrifuge.on('connected', () => {
      this.#move('connected', undefined)
      // After the recovered publications of the user's channel, which follow in the same turn: a notice that is
      // already here need not be asked for.
      queueMicrotask(() => {
        if (this.#state === 'connected') onOnline()
      })
    })
    this.centrifuge.on('disconnected', ({ code, reason }) => {
      this.#move('disconnected', { code, reason })
      onOffline()
    })
    this.centrifuge.on('subscribed', ({ channel, wasRecovering, recovered }) => {
      if (!channel.startsWith(userChannelPrefix)) return
      if (!this.#identify('server', channel.slice(userChannelPrefix.length))) {
        this.disconnect()
        return
      }
      if (wasRecovering && !recovered) onUserReset()
    })
    this.centrifuge.on('publication', (publication) => {
      if (!publication.channel.startsWith(userChannelPrefix)) return
      onUserEvent(publication.data)
      this.acknowledgements.add(publication)
    })
    this.centrifuge.on('error', ({ error }) => {
      // Below 100: a connection or a token that could not be had, which `state` and `#getToken` tell. An expired
      // token is replaced.
      if (error.code >= 100 && error.code !== replyCodes.tokenExpired) {
        onError(fromWireError(error))
      }
    })
  }

  #move(state: ConnectionState, reason: DisconnectReason | undefined): void {
    this.#disconnectReason = reason
    if (this.#state === state) return
    this.#state = state
    this.#onChange.emit(state)
  }

  async #getToken(): Promise<string> {
    const token = await this.#askForToken()
    const subject = subjectOf(token)
    // This error makes the package give up rather than try again.
    if (subject !== undefined && !this.#identify('token', subject))
      throw new UnauthorizedError('another user')
    return token
  }

  async #askForToken(): Promise<string> {
    try {
      return await this.#options.getToken()
    } catch (error) {
      this.#options.onError(error)
      throw error
    }
  }

  /** False when it is another user than before: this client's calls and caches are not for them. */
  #identify(source: 'token' | 'server', userId: string): boolean {
    const known = this.#users.get(source)
    if (known !== undefined && known !== userId) {
      this.#options.onError(clientError('LS_CLIENT_USER_CHANGED'))
      return false
    }
    this.#users.set(source, userId)
    this.#options.onUser(userId)
    return true
  }
}

/**
 * The `sub` of a JWT, read without checking the signature, which is the server's to do; with its tenant as the server
 * puts them together, since equal ones may be two users.
 */
function subjectOf(token: string): string | undefined {
  try {
    const payload = (token.split('.')[1] ?? '').replaceAll('-', '+').replaceAll('_', '/')
    const { sub, tenant } = JSON.parse(atob(payload)) as { sub?: unknown; tenant?: unknown }
    if (typeof sub !== 'string') return undefined
    return typeof tenant === 'string' ? `${tenant}|${sub}` : sub
  } catch {
    return undefined
  }
}

/** An absolute `ws:` or `wss:` URL; relative ones are read against the page's. */
function resolveUrl(url: string): string {
  try {
    const resolved = new URL(url, pageUrl())
    resolved.protocol = resolved.protocol.replace('http', 'ws')
    return resolved.href
  } catch (cause) {
    throw clientError('LS_CLIENT_CONFIG_INVALID', `"${url}" is not a URL the client can connect to.`, cause)
  }
}

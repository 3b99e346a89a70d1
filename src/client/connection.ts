import { Centrifuge, UnauthorizedError } from 'centrifuge'
import { replyCodes } from '../protocol/index.ts'
import { Acknowledgements } from './acknowledgements.ts'
import type { Delays } from './backoff.ts'
import { pageUrl } from './browser.ts'
import { detach } from './detach.ts'
import { ConnectionProblems } from './connection-problem.ts'
import { clientError, readable, type LockstepClientError } from './errors.ts'
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
  /** Why there is no connection, in words that say what to check; undefined while there is one. */
  readonly error: LockstepClientError | undefined
  on(event: 'change', listener: (state: ConnectionState) => void): Off
  /** Once for each problem, not for each attempt: LS_CLIENT_UNREACHABLE, or LS_CLIENT_REFUSED when none follows. */
  on(event: 'error', listener: (error: LockstepClientError) => void): Off
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
  /** The connection ended for good: what waits for it waits in vain. */
  readonly onEnded: (error: LockstepClientError) => void
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
  readonly #onProblem: Listeners<[LockstepClientError]>
  readonly #problems: ConnectionProblems
  /** What each source said of the user, so that a change is seen: the token, the server's channel. */
  readonly #users = new Map<'token' | 'server', string>()
  #state: ConnectionState = 'disconnected'
  #closed = false
  #disconnectReason: DisconnectReason | undefined
  #error: LockstepClientError | undefined
  #wasConnected = false
  #isAskingWhy = false
  #token = ''
  #refusedToken: string | undefined

  constructor(options: ConnectionOptions) {
    this.#options = options
    this.#onChange = new Listeners(options.onError)
    this.#onProblem = new Listeners(options.onError)
    const url = resolveUrl(options.url)
    this.#problems = new ConnectionProblems(url)
    this.centrifuge = new Centrifuge(url, {
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

  get error(): LockstepClientError | undefined {
    return this.#state === 'connected' ? undefined : this.#error
  }

  on(event: 'change' | 'error', listener: (news: never) => void): Off {
    return event === 'error'
      ? this.#onProblem.add(listener as (error: LockstepClientError) => void)
      : this.#onChange.add(listener as (state: ConnectionState) => void)
  }

  connect(): void {
    if (this.#closed) return
    if (this.#state === 'disconnected') this.#error = undefined
    this.centrifuge.connect()
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
    const { onOnline, onOffline, onEnded, onUserEvent, onUserReset } = this.#options
    this.centrifuge.on('connecting', ({ code, reason }) => {
      this.#move('connecting', code === 0 ? undefined : { code, reason })
      onOffline()
    })
    this.centrifuge.on('connected', () => {
      this.#error = undefined
      this.#refusedToken = undefined
      this.#wasConnected = true
      this.#move('connected', undefined)
      // After the recovered publications of the user's channel, which follow in the same turn: a notice that is
      // already here need not be asked for.
      queueMicrotask(() => {
        if (this.#state === 'connected') onOnline()
      })
    })
    this.centrifuge.on('disconnected', ({ code, reason }) => {
      const news = this.#errorOfEnd(code, reason)
      this.#error = news ?? this.#error
      this.#move('disconnected', { code, reason })
      onOffline()
      const ended = this.#error
      // Nothing has ended for good where a listener has connected again, or where no error says not to retry.
      if (this.#state !== 'disconnected' || ended?.retryable !== false) return
      if (news !== undefined) this.#tell(news)
      onEnded(ended)
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
    this.centrifuge.on('error', ({ type, error }) => {
      if (type === 'transport') this.#unopened()
      else if (type === 'connect' && error.code === replyCodes.tokenExpired) this.#tokenExpired()
      else if (type === 'connect') this.#report(this.#problems.unanswered(error))
    })
  }

  #unopened(): void {
    if (this.#error !== undefined || this.#isAskingWhy) return
    if (this.#wasConnected) {
      this.#report(this.#problems.passing('it was lost, and could not be made again.'))
      return
    }
    detach(this.#askWhy(), this.#options.onError)
  }

  async #askWhy(): Promise<void> {
    this.#isAskingWhy = true
    const problem = await this.#problems.unopened()
    this.#isAskingWhy = false
    if (this.#state === 'connecting' && this.#error === undefined) this.#report(problem)
  }

  /** As it should be, the first time: the next attempt asks for another one. */
  #tokenExpired(): void {
    if (this.#refusedToken === this.#token) {
      const what = 'the server refused the token: it has expired, and getToken returned the same one again.'
      this.#report(this.#problems.passing(what))
    }
    this.#refusedToken = this.#token
  }

  /** Below 100 the package ended it: 0 because it was asked to, 1 for want of a token for this user. */
  #errorOfEnd(code: number, reason: string): LockstepClientError | undefined {
    if (code === 0 || (code === 1 && this.#error?.retryable === false)) return undefined
    return this.#problems.final(code, code === 1 ? 'getToken gave no token' : reason, this.#token)
  }

  #report(error: LockstepClientError): void {
    if (error.message === this.#error?.message) return
    this.#error = error
    this.#tell(error)
  }

  #tell(error: LockstepClientError): void {
    this.#onProblem.emit(error)
    this.#options.onError(error)
  }

  #move(state: ConnectionState, reason: DisconnectReason | undefined): void {
    this.#disconnectReason = reason
    if (this.#state === state) return
    this.#state = state
    this.#onChange.emit(state)
  }

  async #getToken(): Promise<string> {
    const token = await this.#askForToken()
    this.#token = token
    // Of a connection that stands: what kept its token from being renewed is over.
    if (this.#state === 'connected') this.#error = undefined
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
      const readableError = readable(error)
      const what = `getToken failed: ${readableError.message}.`
      this.#report(
        this.#state === 'connected'
          ? this.#problems.renewal(what, error)
          : this.#problems.passing(what, error),
      )
      throw readableError
    }
  }

  /** False when it is another user than before: this client's calls and caches are not for them. */
  #identify(source: 'token' | 'server', userId: string): boolean {
    const known = this.#users.get(source)
    if (known !== undefined && known !== userId) {
      this.#report(clientError('LS_CLIENT_USER_CHANGED'))
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

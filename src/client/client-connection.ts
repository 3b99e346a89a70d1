import { tokenExpiredCode } from '../protocol/index.ts'
import { AcknowledgementSender } from './acknowledgement-sender.ts'
import type { Delays } from './backoff.ts'
import { pageUrl } from './browser.ts'
import { Centrifuge, UnauthorizedError } from './centrifuge.ts'
import type { Connection, ConnectionState, DisconnectReason } from './connection.ts'
import { detach } from './detach.ts'
import { final, passing, unanswered, unopened } from './connection-problem.ts'
import { clientError, readable, type LockstepClientError } from './errors.ts'
import { assertEvent, Listeners, type ErrorListener, type Off } from './listeners.ts'
import { misuse } from './client-options.ts'

export interface ConnectionOptions {
  readonly url: string
  /** Absent: no token is sent. */
  readonly getToken?: () => Promise<string>
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
  /** Called with each publication on the user's own channel. */
  readonly onUserEvent: (data: unknown) => void
  /** Events of the user's own channel were missed for good. */
  readonly onUserReset: () => void
}

const userChannelPrefix = 'user:'

export class ClientConnection implements Connection {
  readonly centrifuge: Centrifuge
  readonly acknowledgements: AcknowledgementSender
  readonly #options: ConnectionOptions
  readonly #onChange: Listeners<[ConnectionState]>
  readonly #onProblem: Listeners<[LockstepClientError]>
  readonly #url: string
  /** User ids by source, the token and the server's channel, so that a change is seen. */
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
    this.#url = resolveUrl(options.url)
    const { getToken } = options
    this.centrifuge = new Centrifuge(this.#url, {
      ...(getToken === undefined ? {} : { getToken: () => this.#getToken(getToken) }),
      minReconnectDelay: options.delays.minMs,
      maxReconnectDelay: options.delays.maxMs,
      timeout: options.timeoutMs,
      name: 'lockstep',
      ...(options.websocket === undefined ? {} : { websocket: options.websocket }),
    })
    this.acknowledgements = new AcknowledgementSender(this.centrifuge)
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
    assertEvent(event, 'change', 'error')
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

  // Listeners of the package must not throw: an error from one of them stops the package's client for good.
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
      // Waits for the recovered publications of the user's channel, which follow in the same turn: a notice that is
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
      // Skip `onEnded` where a listener has connected again, or where the error allows a retry.
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
      else if (type === 'connect' && error.code === tokenExpiredCode) this.#tokenExpired()
      else if (type === 'connect') this.#report(unanswered(this.#url, error))
    })
  }

  #unopened(): void {
    if (this.#error !== undefined || this.#isAskingWhy) return
    if (this.#wasConnected) {
      this.#report(passing(this.#url, 'it was lost, and could not be made again.'))
      return
    }
    detach(this.#askWhy(), this.#options.onError)
  }

  async #askWhy(): Promise<void> {
    this.#isAskingWhy = true
    const problem = await unopened(this.#url)
    this.#isAskingWhy = false
    if (this.#state === 'connecting' && this.#error === undefined) this.#report(problem)
  }

  /** Reports only a token that has expired twice: after the first time the next attempt asks for another one. */
  #tokenExpired(): void {
    if (this.#refusedToken === this.#token) {
      const what = 'the server refused the token: it has expired, and getToken returned the same one again.'
      this.#report(passing(this.#url, what))
    }
    this.#refusedToken = this.#token
  }

  /** Codes below 100 are of the package: 0 when it was asked to end, 1 for want of a token for this user. */
  #errorOfEnd(code: number, reason: string): LockstepClientError | undefined {
    if (code === 0 || (code === 1 && this.#error?.retryable === false)) return undefined
    const token = this.#options.getToken === undefined ? undefined : this.#token
    return final(this.#url, code, code === 1 ? 'getToken gave no token' : reason, token)
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

  async #getToken(ask: () => Promise<string>): Promise<string> {
    const token = await this.#askForToken(ask)
    this.#token = token
    // Forgets what kept the token of a standing connection from being renewed.
    if (this.#state === 'connected') this.#error = undefined
    const subject = subjectOf(token)
    // UnauthorizedError makes the package give up rather than try again.
    if (subject !== undefined && !this.#identify('token', subject))
      throw new UnauthorizedError('another user')
    return token
  }

  async #askForToken(ask: () => Promise<string>): Promise<string> {
    try {
      return await ask()
    } catch (error) {
      const readableError = readable(error)
      const what = `getToken failed: ${readableError.message}.`
      const missing = this.#state === 'connected' ? 'no new token for the' : 'no'
      this.#report(passing(this.#url, what, error, missing))
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
    if (resolved.protocol.startsWith('ws')) return resolved.href
  } catch {
    // Fall through to the error below, which says what to write.
  }
  throw misuse(
    `"${url}" is not a URL the client can connect to. Write wss://… or https://…, or in a page a path.`,
  )
}

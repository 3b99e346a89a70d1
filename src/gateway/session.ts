import { randomUUID } from 'node:crypto'
import { detach, isLockstepError, LockstepError, messageOf, type UserContext } from '../core/index.ts'
import type { EncodedEvent, TransientPush } from '../events/subscription.ts'
import { closeCodes, replyCodes, type ReplyCode } from '../protocol/index.ts'
import type { ConnectedUser } from './connections.ts'
import { decodeCommand, type ClientCommand, type ConnectCommand } from './commands.ts'
import { costOf, Dispatcher } from './dispatcher.ts'
import { FailedCheck } from './failed-checks.ts'
import { authenticate, concerns, userFields, type Revocation } from './identity.ts'
import { MalformedMessage } from './json.ts'
import { Pace } from './pace.ts'
import { Outbound, type OutboundOwner } from './outbound.ts'
import type { Identity } from './ports.ts'
import { longestFrameBytes } from './options.ts'
import type { RefusalReason } from './refusals.ts'
import { errorReply, failureReply, identityFields, pingFrame, reply, requestInvalid } from './replies.ts'
import type { SessionContext } from './session-context.ts'
import { closeSocket, type GatewaySocket, type SocketOwner } from './socket.ts'
import type { SubscriptionHost } from './subscription.ts'

// `refused`: connect was answered with an error. The client closes; what it had sent along is passed over, since
// a close code of ours would overtake the error in the SDK.
type State = 'new' | 'connecting' | 'refused' | 'open' | 'closed'

interface Denial {
  readonly id: number
  readonly error: unknown
  readonly token: string
  readonly user: UserContext | undefined
}

/** A connection, from upgrade to close. */
export class Session implements SocketOwner, OutboundOwner, SubscriptionHost {
  readonly id = randomUUID()
  readonly #context: SessionContext
  readonly #socket: GatewaySocket
  readonly #outbound: Outbound
  #state: State = 'new'
  #dispatcher: Dispatcher | undefined
  /** The state that all connections of the user share. */
  #user: ConnectedUser | undefined
  #cancelPause: (() => void) | undefined
  #expiresAt = Infinity
  #refreshing = false
  /** While a token is being checked: what is revoked meanwhile, in case it concerns whoever that turns out to be. */
  #revokedMeanwhile: Revocation[] | undefined
  /** Sent along with connect, to be read once that has succeeded and the user is read on. */
  #held: { readonly messages: string[]; /** With one between two of them. */ length: number } | undefined
  /**
   * What must have happened by `#deadline`, on the monotonic clock. Whole milliseconds: a fraction would be an object of its
   * own on every connection.
   */
  #awaits: 'connect' | 'ping' | 'pong' = 'connect'
  #deadline: number

  constructor(socket: GatewaySocket, context: SessionContext) {
    const { limits, clock } = context.settings
    this.#socket = socket
    this.#context = context
    this.#outbound = new Outbound(socket, this, context)
    this.#deadline = Math.ceil(clock.monotonic() + limits.connectTimeoutMs)
  }

  /** Waits for an answer that is still being made. */
  get isBusy(): boolean {
    return this.#dispatcher?.isBusy === true
  }

  receive(data: Buffer, isBinary: boolean): void {
    if (isBinary) this.close(closeCodes.badRequest, 'send text frames')
    else this.#guarded(data.toString('utf8'))
  }

  broke(): void {
    this.#end(true)
  }

  gone(): void {
    this.#end(true)
    this.#context.connections.remove(this)
  }

  overflow(): void {
    this.#end(true)
    closeSocket(this.#socket, closeCodes.slow, 'slow consumer')
  }

  /** Bytes that its peer has not taken yet. */
  get outboundBytes(): number {
    return this.#outbound.waiting
  }

  push(frame: string, event?: EncodedEvent): void {
    this.#outbound.push(frame, event)
  }

  pushTransient(frame: string): boolean {
    return this.#outbound.pushTransient(frame)
  }

  isBehind(): boolean {
    return this.#outbound.isBehind()
  }

  onceTaken(work: () => void): void {
    this.#outbound.onceTaken(work)
  }

  handed(channel: string, events: readonly EncodedEvent[]): void {
    const { tap } = this.#context
    if (tap !== undefined && this.#dispatcher !== undefined)
      tap.handed(this.#dispatcher.user.id, channel, events)
  }

  handedTransient(channel: string, push: TransientPush): void {
    const { tap } = this.#context
    if (tap !== undefined && this.#dispatcher !== undefined)
      tap.handedTransient(this.#dispatcher.user.id, channel, push)
  }

  /** Counts commands of the user, and reads this connection no further when they were too many lately. */
  charge(cost: number): void {
    const user = this.#user
    if (user === undefined) return
    const { limits, clock } = this.#context.settings
    const now = clock.monotonic()
    user.pace ??= new Pace(limits.maxCommandsPerSecond, now)
    const waitMs = user.pace.charge(cost, now)
    if (waitMs > 0) this.#stopReading(waitMs)
  }

  /** Closes after sending the replies that wait. */
  close(code: number, reason: string): void {
    if (this.#isClosed()) return
    this.#end(false)
    closeSocket(this.#socket, code, reason)
  }

  /** Closes it before it was any user's, and says why in the log. */
  refuse(reason: RefusalReason, code: number, text: string, fields?: () => Record<string, unknown>): void {
    if (!this.#isClosed()) this.#context.refusals.note(reason, fields)
    this.close(code, text)
  }

  /** Ends the socket without a word. */
  terminate(): void {
    this.#socket.terminate()
  }

  revoke(revocation: Revocation): void {
    if (revocation.channel === undefined) this.#revokedMeanwhile?.push(revocation)
    const dispatcher = this.#dispatcher
    if (dispatcher === undefined || !concerns(revocation, dispatcher.user)) return
    if (revocation.channel !== undefined) dispatcher.revoke(revocation.channel)
    else this.close(closeCodes.permissionDenied, 'revoked')
  }

  async reauthorize(): Promise<void> {
    await this.#dispatcher?.reauthorize()
  }

  tick(monotonicMs: number, wallMs: number): void {
    const { limits, pongTimeoutMs } = this.#context.settings
    if (this.#isClosed()) return
    if (wallMs >= this.#expiresAt + limits.expiryGraceMs)
      return this.close(closeCodes.expired, 'token expired')
    if (this.#outbound.isStuck(monotonicMs)) return this.overflow()
    if (monotonicMs < this.#deadline) return
    switch (this.#awaits) {
      case 'connect':
        // Asked in time, and this node is slow: the client has to come again, and must not give up.
        if (this.#state === 'connecting')
          return this.close(closeCodes.serverError, 'connect was not answered in time')
        // Its connect was answered with an error, and the refusal has been counted then.
        if (this.#state === 'refused')
          return this.close(closeCodes.connectTimeout, 'no valid connect in time')
        return this.refuse('no_connect', closeCodes.connectTimeout, 'no valid connect in time')
      case 'pong':
        return this.close(closeCodes.noPong, 'no pong')
      case 'ping':
        this.#awaits = 'pong'
        this.#deadline = Math.ceil(monotonicMs + pongTimeoutMs)
        this.push(pingFrame)
    }
  }

  #guarded(message: string): void {
    try {
      this.#read(message)
    } catch (error) {
      if (error instanceof MalformedMessage) return this.#malformed(error.message)
      this.#context.ports.logger.error({ error, client: this.id }, `session failed: ${messageOf(error)}`)
      this.close(closeCodes.serverError, 'internal error')
    }
  }

  #malformed(reason: string): void {
    if (this.#state === 'new')
      this.refuse('protocol', closeCodes.badRequest, reason, () => ({ found: reason }))
    else this.close(closeCodes.badRequest, reason)
  }

  #read(message: string): void {
    switch (this.#state) {
      case 'closed':
      case 'refused':
        return
      case 'new':
        return this.#readFirst(message)
      case 'connecting':
        return this.#hold(message)
      case 'open':
        return this.#held === undefined ? this.#readCommands(message) : this.#hold(message)
    }
  }

  /** Parses nothing but a small first line for a peer that has not said who it is. */
  #readFirst(message: string): void {
    const end = message.indexOf('\n')
    const line = end === -1 ? message : message.slice(0, end)
    if (Buffer.byteLength(line) > this.#context.settings.limits.maxConnectBytes) {
      return this.refuse('too_large', closeCodes.messageTooLarge, 'connect is too large')
    }
    const command = decodeCommand(line)
    if (command.kind === 'invalid') throw new MalformedMessage(command.reason)
    if (command.kind !== 'connect') throw new MalformedMessage('connect must come first')
    // A newline may end it, too.
    if (end !== -1 && end + 1 < message.length) this.#hold(message.slice(end + 1))
    this.#state = 'connecting'
    this.#detach(this.#connect(command.id, command.request), 'connect')
  }

  #hold(message: string): void {
    const held = (this.#held ??= { messages: [], length: -1 })
    held.messages.push(message)
    held.length += 1 + message.length
    if (held.length > longestFrameBytes(this.#context.settings.limits)) {
      this.refuse('too_large', closeCodes.messageTooLarge, 'too much before the reply to connect')
    }
  }

  #readCommands(message: string): void {
    this.#heard()
    const { maxCommandsPerMessage, maxMessageBytes } = this.#context.settings.limits
    // A character is at most three bytes: only a long message has its lines measured.
    const mayBeTooLong = message.length * 3 > maxMessageBytes
    let left = maxCommandsPerMessage
    for (const line of message.includes('\n') ? message.split('\n') : [message]) {
      if (this.#isClosed()) return
      // A newline may end a command, too.
      if (line === '' && message !== '') continue
      const command = decodeCommand(line)
      left -= 1
      if (left < 0) this.#refuseCommand(command, replyCodes.tooManyRequests)
      else if (mayBeTooLong && Buffer.byteLength(line) > maxMessageBytes) this.#refuseTooLong(command)
      else this.#dispatch(command)
    }
  }

  #refuseTooLong(command: ClientCommand): void {
    const { maxMessageBytes } = this.#context.settings.limits
    const text = `LS_MESSAGE_TOO_LARGE: A command may be ${maxMessageBytes} bytes long.`
    this.#refuseCommand(command, replyCodes.limitExceeded, text)
  }

  #refuseCommand(command: ClientCommand, code: ReplyCode, message?: string): void {
    if ('id' in command) this.push(errorReply(command.id, code, message))
  }

  #dispatch(command: ClientCommand): void {
    const dispatcher = this.#dispatcher
    this.charge(command.kind === 'pong' ? 1 : costOf(command))
    if (command.kind === 'pong' || dispatcher === undefined) return
    if (command.kind === 'connect')
      this.#refuseCommand(command, replyCodes.badRequest, requestInvalid('already connected'))
    else if (command.kind === 'refresh')
      this.#detach(this.#refresh(dispatcher, command.id, command.token), 'refresh')
    else dispatcher.dispatch(command)
  }

  #detach(work: Promise<void>, what: string): void {
    detach(work, this.#context.ports.logger, `${what} of client ${this.id}`)
  }

  async #connect(id: number, request: ConnectCommand): Promise<void> {
    try {
      const identity = await this.#authenticate(request.token, ({ user }) => this.#admit(user))
      const own = await this.#dispatcher?.joinOwn(request.subs)
      if (own !== undefined && !this.#isClosed()) this.#open(id, identity, own)
    } catch (error) {
      this.#notOpened(id, error, request.token)
    }
  }

  #admit(user: UserContext): void {
    if (this.#isClosed()) return
    this.#user = this.#context.connections.admit(user.id)
    if (this.#user !== undefined) {
      this.#dispatcher = new Dispatcher(this, this.#context, user)
    } else {
      const text = 'too many connections of this user'
      this.refuse('user_limit', closeCodes.connectionLimit, text, () => userFields(user))
    }
  }

  #open(id: number, identity: Identity, own: { readonly subs: string; readonly start: () => void }): void {
    const { pingIntervalMs, clock } = this.#context.settings
    this.#state = 'open'
    this.#awaits = 'ping'
    // The first ping comes early by chance, so that connections made at once do not ping at once for ever.
    this.#deadline = Math.ceil(clock.monotonic() + pingIntervalMs * (0.5 + Math.random() / 2))
    const ping = Math.max(1, Math.round(pingIntervalMs / 1_000))
    const body = `${this.#adopt(identity)},"ping":${ping},"pong":true,"subs":${own.subs}`
    this.push(reply(id, 'connect', `{${body}}`))
    own.start()
    // A user who comes again still owes what their last connection sent too fast.
    if (this.#user?.pace !== undefined) this.charge(0)
    if (this.#cancelPause === undefined) this.#readHeld()
  }

  #readHeld(): void {
    const messages = this.#held?.messages ?? []
    this.#held = undefined
    for (const message of messages) this.#guarded(message)
  }

  async #refresh(dispatcher: Dispatcher, id: number, token: string): Promise<void> {
    if (this.#refreshing) return this.push(errorReply(id, replyCodes.tooManyRequests))
    this.#refreshing = true
    try {
      await this.#authenticate(token, (identity) => {
        const { user } = dispatcher
        if (identity.user.id !== user.id || identity.user.tenant !== user.tenant) {
          return this.push(errorReply(id, replyCodes.permissionDenied))
        }
        dispatcher.user = identity.user
        this.push(reply(id, 'refresh', `{${this.#adopt(identity)}}`))
      })
    } catch (error) {
      // Error 109 would end an SDK for good here. After 3005 it connects anew, and asks for another token on the way.
      if (isExpiredToken(error)) this.close(closeCodes.expired, 'token expired')
      else this.#deny({ id, error, token, user: dispatcher.user })
    } finally {
      this.#refreshing = false
    }
  }

  /** `accept` is called in the turn in which it is looked at what was revoked: what is revoked later finds the user. */
  async #authenticate(token: string, accept: (identity: Identity) => void): Promise<Identity> {
    const revoked: Revocation[] = (this.#revokedMeanwhile = [])
    try {
      const identity = await authenticate(token, this.#context)
      this.#context.failedChecks.passed(token)
      if (revoked.some((one) => concerns(one, identity.user))) throw new LockstepError('LS_UNAUTHENTICATED')
      accept(identity)
      return identity
    } finally {
      this.#revokedMeanwhile = undefined
    }
  }

  /** Takes over how long the identity is good for, and tells it as fields of a result. */
  #adopt({ expiresAt }: Identity): string {
    const { version, clock } = this.#context.settings
    this.#expiresAt = expiresAt ?? Infinity
    return identityFields(this.id, version, this.#expiresAt - clock.now())
  }

  #notOpened(id: number, error: unknown, token: string): void {
    if (this.#isClosed()) return
    const user = this.#dispatcher?.user
    this.#leaveUser()
    this.#state = 'refused'
    this.#held = undefined
    this.#deny({ id, error, token, user })
  }

  /** 109 makes a client that connects fetch a new token; any other token that is not good ends it for good. */
  #deny({ id, error, token, user }: Denial): void {
    if (isExpiredToken(error)) return this.push(errorReply(id, replyCodes.tokenExpired))
    if (isLockstepError(error, 'LS_UNAUTHENTICATED') || isLockstepError(error, 'LS_USER_ID_INVALID')) {
      return this.#refuseToken(error)
    }
    const { refusals, failedChecks, ports } = this.#context
    if (error instanceof FailedCheck && failedChecks.isHopeless(token)) return this.#refuseToken(error.cause)
    const requestId = `${this.id}/${id}`
    if (error instanceof FailedCheck)
      refusals.note('auth_failed', () => ({ why: messageOf(error.cause), error: error.cause, requestId }))
    else ports.logger.error({ error, requestId, ...userFields(user) }, `connect failed: ${messageOf(error)}`)
    this.push(failureReply(id, error, requestId))
  }

  #refuseToken(error: unknown): void {
    this.refuse('token', closeCodes.invalidToken, 'invalid token', () => ({ why: messageOf(error), error }))
  }

  #stopReading(forMs: number): void {
    if (this.#cancelPause !== undefined || this.#isClosed()) return
    this.#socket.pause()
    this.#cancelPause = this.#context.settings.clock.after(forMs, () => this.#readOn())
  }

  /** Reads on, also on a connection that is closed: the peer's answer to the close has to be read. */
  #readOn(): void {
    if (this.#cancelPause === undefined) return
    this.#cancelPause()
    this.#cancelPause = undefined
    this.#socket.resume()
    if (this.#state === 'open') this.#readHeld()
  }

  /** Whatever a peer sends shows that it is there. */
  #heard(): void {
    if (this.#awaits !== 'pong') return
    const { pingIntervalMs, pongTimeoutMs } = this.#context.settings
    this.#awaits = 'ping'
    this.#deadline += pingIntervalMs - pongTimeoutMs
  }

  // A method: the compiler would carry a state it knew across an await.
  #isClosed(): boolean {
    return this.#state === 'closed'
  }

  #leaveUser(): void {
    const dispatcher = this.#dispatcher
    if (dispatcher === undefined) return
    this.#dispatcher = undefined
    this.#user = undefined
    dispatcher.end()
    this.#context.connections.release(dispatcher.user.id)
  }

  #end(drop: boolean): void {
    if (this.#isClosed()) return
    this.#state = 'closed'
    this.#held = undefined
    this.#outbound.close(drop)
    this.#readOn()
    this.#leaveUser()
  }
}

function isExpiredToken(error: unknown): boolean {
  return isLockstepError(error, 'LS_UNAUTHENTICATED') && error.details['expired'] === true
}

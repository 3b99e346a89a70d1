import { randomUUID } from 'node:crypto'
import { detach, messageOf, type UserContext } from '../../core/index.ts'
import type { FeedEvent, TransientEvent } from '../../feeds/index.ts'
import { closeCodes, replyCodes } from '../../protocol/index.ts'
import { Authentication } from './authentication.ts'
import { costOfRefusal } from './calls.ts'
import type { ClientCommand, ConnectCommand } from '../wire/commands.ts'
import { deny } from './denial.ts'
import { Dispatcher } from './dispatcher.ts'
import { concerns, userFields, type AuthRequest, type Revocation } from '../../auth/index.ts'
import { Heartbeat } from './heartbeat.ts'
import { Inbound, type InboundOwner } from './inbound.ts'
import { MalformedMessage } from '../wire/json.ts'
import { Outbound, type OutboundOwner } from './outbound.ts'
import type { RefusalReason } from '../crowd/refusals.ts'
import { errorReply, pingFrame, reply, requestInvalid } from '../wire/replies.ts'
import type { SessionContext } from './session-context.ts'
import { closeSocket, type GatewaySocket, type SocketOwner } from './socket.ts'
import type { SubscriptionHost } from './subscription.ts'

// `refused`: connect was answered with an error. The client closes; what it had sent along is passed over, since
// a close code of ours would overtake the error in the SDK.
type State = 'new' | 'connecting' | 'refused' | 'open' | 'closed'

/** A connection, from upgrade to close. */
export class Session implements SocketOwner, InboundOwner, OutboundOwner, SubscriptionHost {
  readonly id = randomUUID()
  readonly #context: SessionContext
  readonly #socket: GatewaySocket
  readonly #inbound: Inbound
  readonly #outbound: Outbound
  readonly #heartbeat: Heartbeat
  readonly #authentication: Authentication
  #state: State = 'new'
  #dispatcher: Dispatcher | undefined

  /** @param request the request that opened the connection, where `auth` sees it */
  constructor(socket: GatewaySocket, context: SessionContext, request?: AuthRequest) {
    const { settings } = context
    this.#socket = socket
    this.#context = context
    this.#inbound = new Inbound(socket, this, settings, context.crowd.strain)
    this.#outbound = new Outbound(socket, this, context)
    this.#heartbeat = new Heartbeat(settings)
    this.#authentication = new Authentication(this, context, request)
  }

  /** Waits for an answer that is still being made. */
  get isBusy(): boolean {
    return this.#dispatcher?.isBusy === true
  }

  get siblings(): number {
    return this.#inbound.user?.connections ?? 1
  }

  /** Commands of the peer are carried out. */
  get isOpen(): boolean {
    return this.#state === 'open'
  }

  receive(data: Buffer, isBinary: boolean): void {
    if (isBinary) return this.close(closeCodes.badRequest, 'send text frames')
    try {
      this.#read(data.toString('utf8'))
    } catch (error) {
      this.failed(error)
    }
  }

  broke(): void {
    this.#end(true)
  }

  gone(): void {
    this.#end(true)
    this.#context.crowd.remove(this)
  }

  overflow(): void {
    this.#end(true)
    closeSocket(this.#socket, closeCodes.slow, 'slow consumer')
  }

  /** Bytes that its peer has not taken yet. */
  get outboundBytes(): number {
    return this.#outbound.waiting
  }

  push(frame: string, event?: FeedEvent, hasWaited = false): void {
    this.#outbound.push(frame, event, hasWaited)
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

  handed(channel: string, events: readonly FeedEvent[]): void {
    const { deliveryRecorder } = this.#context
    if (deliveryRecorder !== undefined && this.#dispatcher !== undefined)
      deliveryRecorder.handed(this.#dispatcher.user.id, channel, events)
  }

  handedTransient(channel: string, event: TransientEvent): void {
    const { deliveryRecorder } = this.#context
    if (deliveryRecorder !== undefined && this.#dispatcher !== undefined)
      deliveryRecorder.handedTransient(this.#dispatcher.user.id, channel, event)
  }

  charge(cost: number): void {
    this.#inbound.charge(cost)
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
    this.#authentication.revoked(revocation)
    const dispatcher = this.#dispatcher
    if (dispatcher === undefined || !concerns(revocation, dispatcher.user)) return
    if (revocation.channel !== undefined) dispatcher.revoke(revocation.channel)
    else this.close(closeCodes.permissionDenied, 'revoked')
  }

  async reauthorize(): Promise<void> {
    await this.#dispatcher?.reauthorize()
  }

  tick(monotonicMs: number, wallMs: number): void {
    if (this.#isClosed()) return
    if (this.#authentication.isOver(wallMs)) return this.close(closeCodes.expired, 'token expired')
    if (this.#outbound.isStuck(monotonicMs)) return this.overflow()
    switch (this.#heartbeat.overdue(monotonicMs)) {
      case undefined:
        return
      case 'connect':
        return this.#connectIsLate()
      case 'pong':
        // The pong may lie in the socket, unread: that is this side's doing.
        if (this.#inbound.isPaused) return this.#heartbeat.heard()
        return this.close(closeCodes.noPong, 'no pong')
      case 'ping':
        this.#heartbeat.pinged(monotonicMs)
        this.push(pingFrame)
    }
  }

  #connectIsLate(): void {
    // Close with a code that lets the client come again: it asked in time, and this node is slow.
    if (this.#state === 'connecting')
      return this.close(closeCodes.serverError, 'connect was not answered in time')
    // Close without another count: the refusal was counted when the connect was answered with an error.
    if (this.#state === 'refused') return this.close(closeCodes.connectTimeout, 'no valid connect in time')
    this.refuse('no_connect', closeCodes.connectTimeout, 'no valid connect in time')
  }

  failed(error: unknown): void {
    if (error instanceof MalformedMessage) return this.#malformed(error.message)
    this.#context.ports.logger.error({ error, client: this.id }, `session failed: ${messageOf(error)}`)
    this.close(closeCodes.serverError, 'internal error')
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
        return this.#inbound.hold(message)
      case 'open':
        this.#heartbeat.heard()
        this.#inbound.read(message)
    }
  }

  #readFirst(message: string): void {
    const connect = this.#inbound.readFirst(message)
    if (connect === undefined || this.#isClosed()) return
    this.#state = 'connecting'
    this.#detach(this.#connect(connect.id, connect.request), 'connect')
  }

  carryOut(command: ClientCommand): void {
    const dispatcher = this.#dispatcher
    if (command.kind === 'pong' || dispatcher === undefined) return
    if (command.kind === 'connect') {
      this.charge(costOfRefusal)
      this.push(errorReply(command.id, replyCodes.badRequest, requestInvalid('already connected')))
    } else if (command.kind === 'refresh')
      this.#detach(this.#authentication.refresh(command.id, command.token, dispatcher), 'refresh')
    else dispatcher.dispatch(command)
  }

  #detach(work: Promise<void>, what: string): void {
    detach(work, this.#context.ports.logger, `${what} of client ${this.id}`)
  }

  async #connect(id: number, request: ConnectCommand): Promise<void> {
    const { token, subs } = request
    try {
      const identity = await this.#authentication.check(token, ({ user }) => this.#admit(user))
      const own = await this.#dispatcher?.joinOwn(subs)
      if (own === undefined || this.#isClosed()) return
      this.#open(id, this.#authentication.adopt(identity, token), own)
    } catch (error) {
      this.#notOpened(id, error, token)
    }
  }

  #admit(user: UserContext): void {
    if (this.#isClosed()) return
    this.#inbound.user = this.#context.crowd.admit(user.id)
    if (this.#inbound.user !== undefined) {
      this.#dispatcher = new Dispatcher(this, this.#context, user)
    } else {
      const text = 'too many connections of this user'
      this.refuse('user_limit', closeCodes.connectionLimit, text, () => userFields(user))
    }
  }

  #open(
    id: number,
    identityFields: string,
    own: { readonly subs: string; readonly start: () => void },
  ): void {
    this.#state = 'open'
    this.#heartbeat.connected()
    const ping = Math.max(1, Math.round(this.#context.settings.pingIntervalMs / 1_000))
    const body = `${identityFields},"ping":${ping},"pong":true,"subs":${own.subs}`
    this.push(reply(id, 'connect', `{${body}}`))
    own.start()
    this.#inbound.connected()
  }

  #notOpened(id: number, error: unknown, token: string): void {
    if (this.#isClosed()) return
    const user = this.#dispatcher?.user
    this.#leaveUser()
    this.#state = 'refused'
    this.#inbound.forget()
    deny(this, this.#context, { id, error, credentials: this.#authentication.credentials(token), user })
  }

  refuseToken(error: unknown): void {
    this.refuse('token', closeCodes.invalidToken, 'invalid token', () => ({ why: messageOf(error), error }))
  }

  // A method: the compiler would carry a state it knew across an await.
  #isClosed(): boolean {
    return this.#state === 'closed'
  }

  #leaveUser(): void {
    const dispatcher = this.#dispatcher
    if (dispatcher === undefined) return
    this.#dispatcher = undefined
    this.#inbound.user = undefined
    dispatcher.end()
    this.#context.crowd.release(dispatcher.user.id)
  }

  #end(drop: boolean): void {
    if (this.#isClosed()) return
    this.#state = 'closed'
    this.#outbound.close(drop)
    this.#inbound.end()
    this.#leaveUser()
  }
}

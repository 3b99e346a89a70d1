import { mutationPoint } from '../../protocol/mutation-point.ts'
import {
  isChannelName,
  isLockstepError,
  LockstepError,
  messageOf,
  userChannel,
  waitAtMost,
  type ErrorCode,
  type UserContext,
} from '../../core/index.ts'
import { closeCodes, unsubscribeCodes, type RecoveryRequest } from '../../protocol/index.ts'
import type { Receiver } from '../measure/acknowledgement-collector.ts'
import { costOfRefusal } from './calls.ts'
import type { SubscribeCommand } from '../wire/commands.ts'
import { userFields } from '../../auth/index.ts'
import {
  failureReply,
  refusalReply,
  reply,
  subscribeResult,
  unsubscribePush,
  type Recovered,
} from '../wire/replies.ts'
import type { SessionContext } from './session-context.ts'
import { Subscription, type SubscriptionHost } from './subscription.ts'

const userPrefix = userChannel('')
/** How long others wait for one answer to whether a subscription still stands; it counts whenever it comes. */
const patienceMs = 5_000

/** Every channel of one connection, the user's own included. */
export class ConnectionSubscriptions implements Receiver {
  readonly host: SubscriptionHost
  readonly #context: SessionContext
  readonly ownChannel: string
  #own: Subscription | undefined
  /** Subscriptions that the client asked for. Most memory of an idle connection would be an empty map. */
  #asked: Map<string, Subscription> | undefined

  constructor(host: SubscriptionHost, context: SessionContext, userId: string) {
    this.host = host
    this.#context = context
    this.ownChannel = userChannel(userId)
  }

  get id(): string {
    return this.host.id
  }

  wasGiven(channel: string, offset: number): boolean {
    const subscription = channel === this.ownChannel ? this.#own : this.#asked?.get(channel)
    // All live subscribers of a channel stand at the same position, so what went to one went to each.
    return subscription?.state === 'live' && offset > (subscription.joined?.position.offset ?? Infinity)
  }

  /**
   * Joins the user's own channel, which needs no permission. Resolves to the text of its SubscribeResult and
   * what to call once that is on its way.
   * @throws errors of the event source
   */
  async joinOwn(asked: RecoveryRequest = {}): Promise<{ result: string; start: () => void }> {
    const subscription = new Subscription(this.ownChannel, this)
    this.#own = subscription
    const joined = await this.#join(subscription, asked)
    return { result: subscribeResult(joined, asked), start: () => this.#start(subscription) }
  }

  /** Resolves to what answers the command when its turn has come. Never rejects. */
  async subscribe(user: UserContext, id: number, command: SubscribeCommand): Promise<() => void> {
    const refusal = this.#refusalOf(command.channel)
    if (refusal !== undefined) return () => this.host.push(refusalReply(id, refusal))
    const subscription = new Subscription(command.channel, this)
    this.#asked ??= new Map()
    this.#asked.set(command.channel, subscription)
    try {
      if (!mutationPoint('channel joined without asking who may'))
        await this.#context.ports.authorizeSubscription(user, command.channel)
      const joined = subscription.state === 'ended' ? undefined : await this.#join(subscription, command)
      return () => this.#answer(subscription, joined, id, command)
    } catch (error) {
      this.#remove(subscription)
      const requestId = `${this.host.id}/${id}`
      if (isLockstepError(error, 'LS_NODE_OVERLOADED')) this.host.charge(costOfRefusal)
      this.#report(error, requestId, command.channel, user)
      return () => this.host.push(failureReply(id, error, requestId))
    }
  }

  unsubscribe(id: number, channel: string): void {
    if (channel === this.ownChannel) return this.host.push(refusalReply(id, 'LS_COMMAND_FORBIDDEN'))
    const subscription = this.#asked?.get(channel)
    if (subscription !== undefined) this.#remove(subscription)
    this.host.push(reply(id, 'unsubscribe'))
  }

  /** Takes a channel away from the client, for good. */
  revoke(channel: string): void {
    const subscription = this.#asked?.get(channel)
    if (subscription !== undefined) this.#revoke(subscription)
  }

  /** Asks again who may hear each live channel; a plain no ends it. Never rejects. */
  async reauthorize(user: () => UserContext): Promise<void> {
    // Ask for the present subscriptions only: a client that subscribes faster than that would keep this from ever
    // ending.
    const live = [...(this.#asked?.values() ?? [])].filter(({ state }) => state === 'live')
    for (const subscription of live) {
      if (subscription.state === 'live' && !subscription.isAskedAgain)
        await waitAtMost(this.#context.settings.clock, patienceMs, this.#askAgain(subscription, user))
    }
  }

  endAll(): void {
    this.#own?.end()
    for (const subscription of this.#asked?.values() ?? []) subscription.end()
    this.#asked = undefined
  }

  /** Continuity of a live subscription is lost: its client has to come back for what it missed. */
  lost(subscription: Subscription): void {
    if (subscription === this.#own) {
      // The protocol cannot resubscribe a channel that the server subscribed; a reconnect does.
      this.host.close(closeCodes.insufficientState, 'insufficient state')
      return
    }
    this.#remove(subscription)
    this.host.push(
      unsubscribePush(subscription.channel, unsubscribeCodes.insufficientState, 'insufficient state'),
    )
  }

  async #askAgain(subscription: Subscription, user: () => UserContext): Promise<void> {
    subscription.isAskedAgain = true
    const asked = user()
    try {
      await this.#context.ports.authorizeSubscription(asked, subscription.channel)
    } catch (error) {
      // A check that cannot answer is not a no: it is asked again in the next round.
      if (!isLockstepError(error) || error.retryable)
        this.#report(error, this.host.id, subscription.channel, asked)
      // A refresh has replaced the user who was refused: the new one is asked about.
      else if (user() !== asked) return await this.#askAgain(subscription, user)
      else this.#revoke(subscription)
    }
    subscription.isAskedAgain = false
  }

  #revoke(subscription: Subscription): void {
    const { channel } = subscription
    const wasLive = subscription.state === 'live'
    this.#remove(subscription)
    if (wasLive) this.host.push(unsubscribePush(channel, unsubscribeCodes.server, 'permission revoked'))
  }

  #refusalOf(channel: string): ErrorCode | undefined {
    if (!isChannelName(channel)) return 'LS_CHANNEL_NAME_INVALID'
    if (channel === this.ownChannel || this.#asked?.has(channel) === true) return 'LS_ALREADY_SUBSCRIBED'
    if (channel.startsWith(userPrefix)) return 'LS_CHANNEL_FORBIDDEN'
    const count = 1 + (this.#asked?.size ?? 0)
    return count >= this.#context.settings.limits.maxChannelsPerConnection ? 'LS_LIMIT_EXCEEDED' : undefined
  }

  async #join(subscription: Subscription, asked: RecoveryRequest): Promise<Recovered> {
    const recoverFrom = { offset: asked.offset ?? 0, epoch: asked.epoch ?? '' }
    // Reload instead of a recovery longer than the connection may queue: it would end the connection after every
    // reconnect. The reply queue slows several recoveries down that fit one by one.
    const maxBytes = this.#context.settings.limits.maxQueuedBytes / 2
    const request = asked.recover === true ? { recoverFrom, maxBytes } : {}
    const joined = await this.#context.ports.events.join(subscription.channel, request, subscription)
    subscription.joined = joined
    if (subscription.state === 'ended') joined.leave()
    return joined
  }

  #answer(
    subscription: Subscription,
    joined: Recovered | undefined,
    id: number,
    asked: SubscribeCommand,
  ): void {
    if (joined === undefined || subscription.state === 'ended') {
      return this.host.push(refusalReply(id, 'LS_CHANNEL_FORBIDDEN'))
    }
    if (subscription.joined?.wasReset === true) {
      // Answer with an error: told "recovered" and then the contrary, a client may have shown the first. It asks again.
      this.#remove(subscription)
      return this.host.push(failureReply(id, new LockstepError('LS_CONNECTION_LOST'), this.host.id))
    }
    if (joined.kind === 'unrecoverable' && asked.recover === true && asked.rejectUnrecovered) {
      this.#remove(subscription)
      return this.host.push(refusalReply(id, 'LS_POSITION_UNRECOVERABLE'))
    }
    this.host.push(reply(id, 'subscribe', subscribeResult(joined, asked)), undefined, true)
    this.#start(subscription)
  }

  #start(subscription: Subscription): void {
    // The reply itself may have been too much for the peer, which ends everything.
    if (subscription.state === 'ended') return
    if (subscription.wasReset) this.lost(subscription)
    else subscription.start()
  }

  #remove(subscription: Subscription): void {
    subscription.end()
    const { channel } = subscription
    if (this.#asked?.get(channel) === subscription) this.#asked.delete(channel)
  }

  #report(error: unknown, requestId: string, channel: string, user: UserContext): void {
    if (isLockstepError(error) && !error.retryable) return
    const fields = { error, requestId, channel, ...userFields(user) }
    this.#context.ports.logger.error(fields, `subscribe failed: ${messageOf(error)}`)
  }
}

import {
  serverUnsubscribe,
  unrecoverablePositionCode,
  skippedTag,
  type StreamPosition,
} from '../protocol/index.ts'
import type { AcknowledgementSender } from './acknowledgement-sender.ts'
import { refusedChannel, toEvent, type Joined } from './channel-event.ts'
import { backoffMs, later, type Delays } from './backoff.ts'
import { ChannelDrafts, draftPush } from './channel-drafts.ts'
import type { Centrifuge, PublicationContext, SubscribedContext, Subscription } from './centrifuge.ts'
import type { ChannelEvent, ChannelOptions, ChannelState } from './client-channel.ts'
import { clientError, fromWireError, isRefusal, readable, type LockstepClientError } from './errors.ts'
import type { DraftView } from './draft-view.ts'
import { hearSubscription } from './hear-subscription.ts'
import { Listeners, type ErrorListener } from './listeners.ts'
import { JoinWaiters } from './join-waiters.ts'
import { assertKind, ofPosition } from './client-options.ts'
import type { ConnectionWait } from './connection-wait.ts'

/** `errorCodes.subscriptionGetState` of the package. */
const getStateFailed = 13

interface SharedSubscriptionOptions extends ChannelOptions {
  readonly name: string
  readonly centrifuge: Centrifuge
  readonly acknowledgements: AcknowledgementSender
  readonly delays: Delays
  readonly onError: ErrorListener
  readonly connectionWait: ConnectionWait
  /** Hears of each change of a draft. */
  readonly onDraft: (draft: DraftView) => void
  /** Called when the last handle was closed. */
  onEmpty(): void
}

/**
 * Subscription to one channel, shared by its handles. The server keeps the order and the continuity, and this class
 * checks both: it drops an event that it has seen, and when one is missing it subscribes anew from the last one seen,
 * because the centrifuge package would go on behind the hole.
 */
export class SharedSubscription {
  readonly onEvent: Listeners<[ChannelEvent]>
  readonly onReset: Listeners<[]>
  /** The server has answered a subscription. */
  readonly onJoined: Listeners<[Joined]>
  readonly onChange: Listeners<[ChannelState]>
  readonly reportError: ErrorListener
  readonly drafts: ChannelDrafts
  readonly #options: SharedSubscriptionOptions
  readonly #handles = new Set<object>()
  #subscription: Subscription | undefined
  #state: ChannelState = 'subscribing'
  #error: LockstepClientError | undefined
  /** The last event that was delivered, or that the state covers. */
  #position: StreamPosition | undefined
  /** True once a reset would have something to reload. */
  #begun: boolean
  /** The offset behind which a hole was found; finding it again means that it cannot be filled. */
  #holeAfter: number | undefined
  #restarts = 0
  #cancelRestart: (() => void) | undefined
  readonly #waiters: JoinWaiters

  constructor(options: SharedSubscriptionOptions) {
    this.#options = options
    this.reportError = options.onError
    this.onEvent = new Listeners(options.onError)
    this.onReset = new Listeners(options.onError)
    this.onJoined = new Listeners(options.onError)
    this.#waiters = new JoinWaiters(options.connectionWait)
    this.drafts = new ChannelDrafts({
      onError: options.onError,
      rejoin: () => this.#restart(this.#position),
      onChange: options.onDraft,
    })
    this.onChange = new Listeners(options.onError)
    this.#position = options.since
    this.#begun = options.since !== undefined
    this.#subscribe()
  }

  get name(): string {
    return this.#options.name
  }

  get state(): ChannelState {
    return this.#state
  }

  get error(): LockstepClientError | undefined {
    return this.#error
  }

  enter(handle: object): void {
    this.#handles.add(handle)
    // A feed that was refused before is tried again for a new handle.
    if (this.#state === 'unsubscribed') this.#restart(this.#position)
  }

  hasOnly(handle: object): boolean {
    return this.#handles.size === 1 && this.#handles.has(handle)
  }

  leave(handle: object): void {
    if (!this.#handles.delete(handle) || this.#handles.size > 0) return
    this.close()
    this.#options.onEmpty()
  }

  ready(): Promise<void> {
    if (this.#state === 'subscribed') return Promise.resolve()
    if (this.#state === 'unsubscribed') return Promise.reject(this.#error ?? clientError('LS_CLIENT_CLOSED'))
    return this.#waiters.wait()
  }

  /** Bounds the wait of callers: there is no connection. */
  offline(): void {
    this.#waiters.offline()
  }

  /** The connection ended for good. Should it be made again after all, the subscription goes on. */
  ended(error: LockstepClientError): void {
    this.#waiters.settle(error)
  }

  close(): void {
    this.#cancelRestart?.()
    this.#drop()
    this.#move('unsubscribed', clientError('LS_CLIENT_CLOSED'))
  }

  #subscribe(): void {
    const { name, centrifuge, delays, getState, onError } = this.#options
    const subscription = centrifuge.newSubscription(name, {
      minResubscribeDelay: delays.minMs,
      maxResubscribeDelay: delays.maxMs,
      ...(this.#position === undefined ? {} : { since: this.#position }),
      ...(getState === undefined ? {} : { getState: () => this.#loadState(getState) }),
    })
    this.#subscription = subscription
    hearSubscription(subscription, () => this.#subscription === subscription, {
      subscribing: () => this.#move('subscribing', undefined),
      subscribed: (context) => this.#subscribed(context),
      unsubscribed: ({ code, reason }) => this.#unsubscribed(code, reason),
      publication: (context) => this.#received(context),
      error: ({ error }) => {
        if (error.code !== getStateFailed) onError(fromWireError(error))
      },
    })
    subscription.subscribe()
  }

  async #loadState(getState: () => Promise<StreamPosition>): Promise<StreamPosition> {
    if (this.#begun) this.#reset()
    try {
      const state = await getState()
      assertKind('What getState returns', state, ofPosition)
      const { offset, epoch } = state
      this.#begun = true
      this.#position = { offset, epoch }
      return this.#position
    } catch (thrown) {
      // Reported here rather than by the package's error event, which a connection still being made does not raise.
      this.reportError(thrown)
      const error = readable(thrown)
      if (isRefusal(error)) {
        // The server's own no: asking again would only bring it again.
        this.#drop()
        this.#move('unsubscribed', error)
      }
      throw error
    }
  }

  #subscribed({ recovered, streamPosition, data }: SubscribedContext): void {
    if (this.#position === undefined || recovered) {
      this.#position ??= streamPosition
    } else if (this.#options.getState !== undefined) {
      // Guards against other servers: this one, asked with a state, refuses what it cannot recover.
      this.#restartLater()
      return
    } else {
      this.#position = streamPosition
      this.#reset()
    }
    this.#begun = true
    const joined = { recovered, data }
    this.drafts.joined(joined, this.#position?.offset ?? 0)
    this.onJoined.emit(joined)
    this.#move('subscribed', undefined)
  }

  #unsubscribed(code: number, reason: string): void {
    if (code === unrecoverablePositionCode) {
      if (this.#options.getState === undefined) this.#reset()
      this.#restartLater()
      return
    }
    const error = fromWireError({ code, message: reason })
    // A push of the server takes a right away; an error reply refuses what was asked for.
    if (isRefusal(error) && code < serverUnsubscribe && this.#waiters.size === 0) {
      this.reportError(refusedChannel(this.name, error))
    }
    this.#move('unsubscribed', error)
  }

  #received(publication: PublicationContext): void {
    const { data, offset, tags } = publication
    const last = this.#position
    if (offset !== undefined && last !== undefined) {
      if (offset <= last.offset) return
      // Entries that are shown to nobody have offsets, too.
      const expected = offset - Number(tags?.[skippedTag] ?? 0)
      if (expected > last.offset + 1 && !this.#acceptHole(last)) return
    }
    if (offset !== undefined) {
      if (last !== undefined) this.#position = { offset, epoch: last.epoch }
      this.#restarts = 0
    }
    const isDraft = offset === undefined && (Object(data) as { readonly type?: unknown }).type === draftPush
    if (isDraft) return this.drafts.push(data)
    const event = toEvent(this.name, data, offset)
    if (event === undefined) this.reportError(clientError('LS_CLIENT_EVENT_MALFORMED'))
    else {
      this.onEvent.emit(event)
      // Ends drafts behind the event: the page has what they showed by then.
      this.drafts.event(event)
      this.#options.acknowledgements.add(publication)
    }
  }

  /** Asks once for the missing events. Called a second time behind the same event, it reports the loss. */
  #acceptHole(last: StreamPosition): boolean {
    if (this.#holeAfter !== last.offset) {
      this.#holeAfter = last.offset
      this.#restart(last)
      return false
    }
    if (this.#options.getState === undefined) {
      this.#reset()
      return true
    }
    this.#restartLater()
    return false
  }

  #reset(): void {
    if (this.onReset.size === 0 && this.#options.getState === undefined) {
      this.reportError(clientError('LS_CLIENT_EVENTS_MISSED'))
    }
    this.onReset.emit()
  }

  /** Starts from scratch after a pause, so that a server that never can recover is not asked all the time. */
  #restartLater(): void {
    this.#drop()
    this.#move('subscribing', undefined)
    this.#cancelRestart = later(
      () => {
        this.#restart(undefined)
      },
      backoffMs(this.#restarts, this.#options.delays),
    )
    this.#restarts += 1
  }

  #restart(position: StreamPosition | undefined): void {
    this.#cancelRestart?.()
    this.#drop()
    this.#position = position
    this.#move('subscribing', undefined)
    this.#subscribe()
  }

  #drop(): void {
    const subscription = this.#subscription
    this.#subscription = undefined
    if (subscription !== undefined) this.#options.centrifuge.removeSubscription(subscription)
  }

  #move(state: ChannelState, error: LockstepClientError | undefined): void {
    this.#error = error
    if (state !== 'subscribing') this.#waiters.settle(error)
    if (this.#state === state) return
    this.#state = state
    this.onChange.emit(state)
  }
}

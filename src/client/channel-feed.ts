import type { Centrifuge, PublicationContext, SubscribedContext, Subscription } from 'centrifuge'
import { replyCodes, unsubscribeCodes, type StreamPosition } from '../protocol/index.ts'
import type { Acknowledgements } from './acknowledgements.ts'
import { backoffMs, later, type Delays } from './backoff.ts'
import type { ChannelEvent, ChannelOptions, ChannelState } from './channel.ts'
import { clientError, fromWireError, isRefusal, LockstepClientError, readable } from './errors.ts'
import { Listeners, type ErrorListener } from './listeners.ts'
import type { Patience } from './patience.ts'

/** `errorCodes.subscriptionGetState` of the package. */
const getStateFailed = 13

interface FeedOptions extends ChannelOptions {
  readonly name: string
  readonly centrifuge: Centrifuge
  readonly acknowledgements: Acknowledgements
  readonly delays: Delays
  readonly onError: ErrorListener
  readonly patience: Patience
  /** The last handle was closed. */
  onEmpty(): void
}

interface Waiter {
  readonly resolve: () => void
  readonly reject: (error: LockstepClientError) => void
}

/**
 * One channel's subscription, shared by its handles. The server keeps the order and the continuity; this checks
 * both: an event that was seen is dropped, and when one is missing the subscription starts anew from the last one
 * seen, because the package itself would go on behind the hole.
 */
export class ChannelFeed {
  readonly onEvent: Listeners<[ChannelEvent]>
  readonly onReset: Listeners<[]>
  readonly onChange: Listeners<[ChannelState]>
  readonly reportError: ErrorListener
  readonly #options: FeedOptions
  readonly #handles = new Set<object>()
  #subscription: Subscription | undefined
  #state: ChannelState = 'subscribing'
  #error: LockstepClientError | undefined
  /** The last event that was delivered, or that the state covers. */
  #position: StreamPosition | undefined
  /** Whether there is something that a reset would have to reload. */
  #begun: boolean
  /** The offset behind which a hole was found; finding it again means that it cannot be filled. */
  #holeAfter: number | undefined
  #restarts = 0
  #cancelRestart: (() => void) | undefined
  #waiters: Waiter[] = []

  constructor(options: FeedOptions) {
    this.#options = options
    this.reportError = options.onError
    this.onEvent = new Listeners(options.onError)
    this.onReset = new Listeners(options.onError)
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
    // Refused before: whoever asks again wants another try.
    if (this.#state === 'unsubscribed') this.#restart(this.#position)
  }

  leave(handle: object): void {
    if (!this.#handles.delete(handle) || this.#handles.size > 0) return
    this.close()
    this.#options.onEmpty()
  }

  ready(): Promise<void> {
    if (this.#state === 'subscribed') return Promise.resolve()
    if (this.#state === 'unsubscribed') return Promise.reject(this.#error ?? clientError('LS_CLIENT_CLOSED'))
    return new Promise((resolve, reject) => {
      this.#waiters.push({ resolve, reject })
      this.awaitConnection()
    })
  }

  /** There is no connection, or may be none: who waits for the channel does not wait for ever. */
  awaitConnection(): void {
    const waiting = [...this.#waiters]
    if (waiting.length > 0) this.#options.patience.wait((error) => this.#giveUp(waiting, error))
  }

  /** The connection ended for good. Should it be made again after all, the subscription goes on. */
  ended(error: LockstepClientError): void {
    this.#giveUp(this.#waiters, error)
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
    // A listener that throws would stop the package's client. A subscription that was replaced may still speak.
    const current = (): boolean => this.#subscription === subscription
    subscription.on('subscribing', () => {
      if (current()) this.#move('subscribing', undefined)
    })
    subscription.on('subscribed', (context) => {
      if (current()) this.#subscribed(context)
    })
    subscription.on('unsubscribed', ({ code, reason }) => {
      if (current()) this.#unsubscribed(code, reason)
    })
    subscription.on('publication', (context) => {
      if (current()) this.#received(context)
    })
    subscription.on('error', ({ error }) => {
      if (current() && error.code !== getStateFailed) onError(fromWireError(error))
    })
    subscription.subscribe()
  }

  async #loadState(getState: () => Promise<StreamPosition>): Promise<StreamPosition> {
    if (this.#begun) this.#reset()
    try {
      const { offset, epoch } = await getState()
      this.#begun = true
      this.#position = { offset, epoch }
      return this.#position
    } catch (thrown) {
      // Here rather than by the package's error event, which a connection still being made does not raise.
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

  #subscribed({ recovered, streamPosition }: SubscribedContext): void {
    if (this.#position === undefined || recovered) {
      this.#position ??= streamPosition
    } else if (this.#options.getState !== undefined) {
      // Not what this server does: asked with a state, it refuses what it cannot recover.
      this.#restartLater()
      return
    } else {
      this.#position = streamPosition
      this.#reset()
    }
    this.#begun = true
    this.#move('subscribed', undefined)
  }

  #unsubscribed(code: number, reason: string): void {
    if (code === replyCodes.unrecoverablePosition) {
      if (this.#options.getState === undefined) this.#reset()
      this.#restartLater()
      return
    }
    const error = fromWireError({ code, message: reason })
    // A push of the server takes a right away; an error reply refuses what was asked for.
    if (isRefusal(error) && code < unsubscribeCodes.server && this.#waiters.length === 0) {
      this.reportError(refusedChannel(this.name, error))
    }
    this.#move('unsubscribed', error)
  }

  #received(publication: PublicationContext): void {
    const { data, offset } = publication
    const last = this.#position
    if (offset !== undefined && last !== undefined) {
      if (offset <= last.offset) return
      if (offset > last.offset + 1 && !this.#acceptHole(last)) return
    }
    if (offset !== undefined) {
      if (last !== undefined) this.#position = { offset, epoch: last.epoch }
      this.#restarts = 0
    }
    const event = toEvent(this.name, data, offset)
    if (event === undefined) this.reportError(clientError('LS_CLIENT_EVENT_MALFORMED'))
    else {
      this.onEvent.emit(event)
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

  /** From scratch, after a pause, so that a server that never can recover is not asked all the time. */
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

  /** Rejects those of the waiters that still wait. */
  #giveUp(waiters: readonly Waiter[], error: LockstepClientError): void {
    const left = this.#waiters.filter((waiter) => !waiters.includes(waiter))
    for (const waiter of this.#waiters) if (waiters.includes(waiter)) waiter.reject(error)
    this.#waiters = left
  }

  #drop(): void {
    const subscription = this.#subscription
    this.#subscription = undefined
    if (subscription !== undefined) this.#options.centrifuge.removeSubscription(subscription)
  }

  #move(state: ChannelState, error: LockstepClientError | undefined): void {
    this.#error = error
    if (state !== 'subscribing') {
      for (const { resolve, reject } of this.#waiters.splice(0)) {
        if (error === undefined) resolve()
        else reject(error)
      }
    }
    if (this.#state === state) return
    this.#state = state
    this.onChange.emit(state)
  }
}

function refusedChannel(name: string, { code, reason, message }: LockstepClientError): LockstepClientError {
  const check = code === replyCodes.unknownChannel ? ' Is it declared on the server, and spelled so?' : ''
  const text = `channel "${name}" was refused: ${message}${check}`
  return new LockstepClientError({ code, reason, retryable: false, message: text })
}

function toEvent(channel: string, data: unknown, offset: number | undefined): ChannelEvent | undefined {
  const envelope = Object(data) as { [Key in 'type' | 'data' | 'operationId' | 'at' | 'draft']?: unknown }
  const { type, operationId = '', at = '' } = envelope
  if (typeof type !== 'string' || typeof operationId !== 'string' || typeof at !== 'string') return undefined
  const facts = { channel, type, data: envelope.data, operationId, at }
  // Without a place in the channel's order it cannot be a committed event, whatever it says.
  if (offset === undefined || envelope.draft === true) return { ...facts, draft: true, offset: undefined }
  return { ...facts, draft: false, offset }
}

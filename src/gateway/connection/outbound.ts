import type { FeedEvent } from '../../feeds/index.ts'
import type { GatewaySettings } from '../contract/gateway-options.ts'
import { SharedFrames } from './shared-frames.ts'
import { afterSent, type GatewaySocket } from './socket.ts'

/** A WebSocket message is not grown beyond this; what follows goes into the next one. */
const messageLength = 64 * 1024

export interface OutboundOwner {
  /** True while the peer waits for an answer that is still being made. */
  readonly isBusy: boolean
  /** Called when the peer does not read its frames. */
  overflow(): void
}

/** State that all connections of a gateway share. */
export interface OutboundShared {
  readonly flusher: Flusher
  readonly settings: Pick<GatewaySettings, 'limits' | 'clock' | 'pongTimeoutMs'>
}

/**
 * Queue of frames for one peer. Frames of one turn of the loop travel as one WebSocket message, joined by newlines; the
 * queue of a peer that does not read is bounded, so that a slow peer costs memory only to itself.
 */
export class Outbound {
  readonly #socket: GatewaySocket
  readonly #owner: OutboundOwner
  readonly #shared: OutboundShared
  #pending = ''
  /** The event, where the pending text is that event alone. */
  #event: FeedEvent | undefined
  #closed = false
  /** Monotonic time since which a reply waits for the peer to take what was sent before. */
  #heldSince: number | undefined

  constructor(socket: GatewaySocket, owner: OutboundOwner, shared: OutboundShared) {
    this.#socket = socket
    this.#owner = owner
    this.#shared = shared
  }

  /**
   * @param event the event that the frame shows, where other sockets are sent the same one
   * @param hasWaited true for a reply that waited until the peer had taken what came before: it may be longer than the queue
   */
  push(frame: string, event?: FeedEvent, hasWaited = false): void {
    if (this.#closed) return
    const { maxQueuedBytes } = this.#shared.settings.limits
    const room = hasWaited && this.waiting <= maxQueuedBytes / 4 ? Infinity : maxQueuedBytes
    if (this.waiting + frame.length > room) {
      this.#owner.overflow()
      return
    }
    if (this.#pending === '') {
      this.#pending = frame
      this.#event = event
      this.#shared.flusher.schedule(this)
    } else {
      this.#event = undefined
      this.#pending = `${this.#pending}\n${frame}`
      // Hand over early: the kernel takes it now, and only what it cannot take counts as waiting.
      if (this.#pending.length >= messageLength) this.flush()
    }
  }

  /** Dropped when the peer is behind already: what counts must not be pushed out by what does not. */
  pushTransient(frame: string): boolean {
    if (this.#closed || this.waiting + frame.length > this.#shared.settings.limits.maxQueuedBytes / 4)
      return false
    this.push(frame)
    return true
  }

  /**
   * True while the waiting bytes leave no room for the longest recovery, which is half of what may wait. Flushes the
   * pending text first, to find out.
   */
  isBehind(): boolean {
    const allowed = this.#shared.settings.limits.maxQueuedBytes / 4
    if (this.waiting <= allowed) return false
    this.flush()
    return this.#socket.readyState === this.#socket.OPEN && this.waiting > allowed
  }

  /** Calls `work` once the kernel has taken all that was sent until now; never, when the connection ends before. */
  onceTaken(work: () => void): void {
    this.#heldSince = this.#shared.settings.clock.monotonic()
    afterSent(this.#socket, () => {
      this.#heldSince = undefined
      work()
    })
  }

  /** A reply has waited for the peer as long as a pong may take. */
  isStuck(monotonicMs: number): boolean {
    return (
      this.#heldSince !== undefined && monotonicMs - this.#heldSince >= this.#shared.settings.pongTimeoutMs
    )
  }

  /** An answer follows, perhaps in this turn. */
  get awaitsAnswer(): boolean {
    return this.#owner.isBusy
  }

  /** Does nothing when a flush came before. */
  flush(): void {
    if (this.#closed || this.#pending === '') return
    const message = this.#pending
    const event = this.#event
    this.#pending = ''
    this.#event = undefined
    if (event === undefined) this.#socket.send(message)
    else this.#shared.flusher.frames.send(this.#socket, event)
  }

  /** Sends what waits, unless it shall be dropped, and takes nothing any more. */
  close(drop: boolean): void {
    if (!drop) this.flush()
    this.#pending = ''
    this.#event = undefined
    this.#closed = true
  }

  /** Bytes that the peer has not taken yet; text that waits for the end of this turn counts in characters. */
  get waiting(): number {
    return this.#socket.bufferedAmount + this.#pending.length
  }
}

/** Sender of all peers of a gateway: flushes their frames at the end of the turn, or earlier where asked to. */
export class Flusher {
  readonly frames = new SharedFrames()
  readonly #onFlushed: (() => void) | undefined
  #dirty: Outbound[] = []
  #isScheduled = false

  /** @param onFlushed called when all that peers were given has been sent */
  constructor(onFlushed?: () => void) {
    this.#onFlushed = onFlushed
  }

  schedule(outbound: Outbound): void {
    this.#dirty.push(outbound)
    if (this.#isScheduled) return
    this.#isScheduled = true
    // The microtask lets a caller outside any promise finish its promises first; nextTick then comes after all
    // microtasks of this turn, so replies that resolve one after another still share a message.
    queueMicrotask(this.#afterMicrotasks)
  }

  /**
   * Sends now, before whatever else runs in this turn. Peers that wait for an answer are sent theirs at its end, so
   * that an event and the answer to the call that emitted it share a message.
   */
  flushNow(): void {
    const dirty = this.#dirty
    this.#dirty = []
    for (const outbound of dirty) {
      if (outbound.awaitsAnswer) this.#dirty.push(outbound)
      else outbound.flush()
    }
    if (this.#dirty.length === 0) this.#onFlushed?.()
  }

  readonly #afterMicrotasks = (): void => {
    process.nextTick(this.#flush)
  }

  readonly #flush = (): void => {
    const dirty = this.#dirty
    this.#dirty = []
    this.#isScheduled = false
    for (const outbound of dirty) outbound.flush()
    this.#onFlushed?.()
  }
}

import type { EncodedEvent } from '../events/subscription.ts'
import type { GatewaySettings } from './options.ts'
import { SharedFrames } from './shared-frames.ts'
import { afterSent, type GatewaySocket } from './socket.ts'

/** A WebSocket message is not grown beyond this; what follows goes into the next one. */
const messageLength = 64 * 1024

export interface OutboundOwner {
  /** Its peer waits for an answer that is still being made. */
  readonly isBusy: boolean
  /** Its peer does not read what it is sent. */
  overflow(): void
}

/** What all connections of a gateway have in common here. */
export interface OutboundShared {
  readonly flusher: Flusher
  readonly settings: Pick<GatewaySettings, 'limits' | 'clock' | 'pongTimeoutMs'>
}

/**
 * What waits to be sent to one peer. Frames of one turn of the loop travel as one WebSocket message, joined by
 * newlines; the queue of a peer that does not read is bounded, so that it costs memory to nobody but itself.
 */
export class Outbound {
  readonly #socket: GatewaySocket
  readonly #owner: OutboundOwner
  readonly #shared: OutboundShared
  #pending = ''
  /** All that is pending, where that is one event. */
  #event: EncodedEvent | undefined
  #closed = false
  /** Since when a reply waits for the peer to take what was sent before, on the monotonic clock. */
  #heldSince: number | undefined

  constructor(socket: GatewaySocket, owner: OutboundOwner, shared: OutboundShared) {
    this.#socket = socket
    this.#owner = owner
    this.#shared = shared
  }

  /** @param event whose frame it is, where other sockets are sent the same */
  push(frame: string, event?: EncodedEvent): void {
    if (this.#closed) return
    if (this.waiting + frame.length > this.#shared.settings.limits.maxQueuedBytes) {
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
   * More waits than leaves room for the longest recovery, which is half of what may wait. Hands over what waits for the end
   * of the turn to find out.
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

  /** What the peer has not taken yet, in bytes; of what waits for the end of this turn, in characters. */
  get waiting(): number {
    return this.#socket.bufferedAmount + this.#pending.length
  }
}

/** One per gateway: sends at the end of the current turn what its peers were given in it, or before, where asked to. */
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

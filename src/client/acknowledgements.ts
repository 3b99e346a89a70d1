import { State, type Centrifuge } from 'centrifuge'
import { acknowledgeTag, type AcknowledgementMessage } from '../protocol/index.ts'
import { later } from './backoff.ts'
import { disregard } from './detach.ts'

const batchMs = 250
const batchSize = 20

interface Received {
  readonly channel: string
  readonly offset?: number
  readonly tags?: Readonly<Record<string, string>>
}

/**
 * Tells the server which of the events it asks about were handled here, and how long ago that was. Only durations
 * of the monotonic clock are sent, so that it does not matter what time this device thinks it is.
 */
export class Acknowledgements {
  readonly #centrifuge: Centrifuge
  #handled: (readonly [channel: string, offset: number, at: number])[] = []

  constructor(centrifuge: Centrifuge) {
    this.#centrifuge = centrifuge
  }

  /** The listeners of the event have run. */
  add({ channel, offset, tags }: Received): void {
    // Without the tag, or with one that is no number, this compares with NaN, which nothing is below.
    if (offset === undefined || !(Math.random() < Number(tags?.[acknowledgeTag]))) return
    const waiting = this.#handled.push([channel, offset, performance.now()])
    if (waiting === 1) later(() => this.#send(), batchMs)
    if (waiting === batchSize) this.#send()
  }

  #send(): void {
    const now = performance.now()
    const acks = this.#handled.splice(0).map(([channel, offset, at]) => [channel, offset, now - at] as const)
    // Kept for the next connection they would be refused there: it was not that one that brought the events.
    if (acks.length === 0 || this.#centrifuge.state !== State.Connected) return
    const message: AcknowledgementMessage = { acks }
    // A measurement: when it is lost, nobody misses anything but one figure of many.
    disregard(this.#centrifuge.send(message))
  }
}

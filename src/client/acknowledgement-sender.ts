import { acknowledgeTag, type AcknowledgementMessage } from '../protocol/index.ts'
import { later } from './backoff.ts'
import { State, type Centrifuge } from './centrifuge.ts'
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
export class AcknowledgementSender {
  readonly #centrifuge: Centrifuge
  #handled: (readonly [channel: string, offset: number, at: number])[] = []

  constructor(centrifuge: Centrifuge) {
    this.#centrifuge = centrifuge
  }

  /** The listeners of the event have run. */
  add({ channel, offset, tags }: Received): void {
    // A tag that is missing or no number makes NaN, which nothing is below.
    if (offset === undefined || !(Math.random() < Number(tags?.[acknowledgeTag]))) return
    const waiting = this.#handled.push([channel, offset, performance.now()])
    if (waiting === 1) later(() => this.#send(), batchMs)
    if (waiting === batchSize) this.#send()
  }

  #send(): void {
    const now = performance.now()
    const acks = this.#handled.splice(0).map(([channel, offset, at]) => [channel, offset, now - at] as const)
    // Dropped without a connection: the next one refuses what another one has brought.
    if (acks.length === 0 || this.#centrifuge.state !== State.Connected) return
    const message: AcknowledgementMessage = { acks }
    // A measurement: a lost one is one figure fewer of many.
    disregard(this.#centrifuge.send(message))
  }
}

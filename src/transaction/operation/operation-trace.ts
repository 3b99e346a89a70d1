import {
  endSpan,
  markOutcome,
  startDatabaseSpan,
  startOperationSpan,
  startPublishSpan,
  traceparentOf,
  withSpan,
  type ErrorCode,
  type Mode,
  type TraceSpan,
} from '../../core/index.ts'
import { countByChannel, type StoredEvent } from '../../log/index.ts'
import { touchedEvent, type Outcome } from '../../protocol/index.ts'

/** The spans of one operation; where nothing records, each call costs a test. */
export class OperationTrace {
  readonly #span: TraceSpan
  #outcome: Outcome['outcome'] | undefined
  #code: ErrorCode | undefined

  constructor(operation: { readonly id: string; readonly name: string; readonly mode: Mode }) {
    this.#span = startOperationSpan(operation)
  }

  /** Runs the user's code below the span, so that what traces itself in there is below it. */
  run<T>(work: () => T): T {
    return withSpan(this.#span, work)
  }

  /** The flush and the COMMIT behind it. */
  commit<T>(work: () => Promise<T>): Promise<T> {
    return this.#span === undefined ? work() : this.#commitTraced(work)
  }

  async #commitTraced<T>(work: () => Promise<T>): Promise<T> {
    const span = startDatabaseSpan(this.#span, { operation: 'COMMIT' })
    try {
      return await work()
    } finally {
      endSpan(span)
    }
  }

  /** Hands events to their subscribers, each with the context of its channel's span. */
  publish(events: readonly StoredEvent[], deliver: (events: readonly StoredEvent[]) => void): void {
    if (this.#span === undefined) return deliver(events)
    const shown = events.filter(({ type }) => type !== touchedEvent)
    const lastOf = new Map(shown.map((event) => [event.channel, event]))
    const counts = countByChannel(shown)
    const spans = new Map<string, TraceSpan>()
    for (const [channel, { operationId, offset, template }] of lastOf) {
      const count = counts.get(channel) ?? 0
      const named = template === undefined ? {} : { template }
      spans.set(channel, startPublishSpan(this.#span, { operationId, channel, offset, count, ...named }))
    }
    deliver(
      events.map((event) => {
        const traceparent = traceparentOf(spans.get(event.channel))
        return traceparent === undefined ? event : { ...event, traceparent }
      }),
    )
    for (const span of spans.values()) endSpan(span)
  }

  settled(outcome: Outcome['outcome'], code?: ErrorCode): void {
    this.#outcome = outcome
    if (outcome === 'rolled_back') this.#code = code
  }

  /** Ends the spans, also without an outcome of its own: for a copy, or an outcome that was not found out in time. */
  ended(): void {
    if (this.#span === undefined) return
    if (this.#outcome !== undefined) markOutcome(this.#span, this.#outcome)
    endSpan(this.#span, this.#code === undefined ? undefined : { errorType: this.#code })
  }
}

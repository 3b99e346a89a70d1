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
} from '../core/index.ts'
import type { StoredEvent } from '../events/index.ts'
import type { Outcome } from '../protocol/index.ts'

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
  publish(events: readonly StoredEvent[], announce: (events: readonly StoredEvent[]) => void): void {
    if (this.#span === undefined) return announce(events)
    const lastOf = new Map(events.map((event) => [event.channel, event]))
    const spans = new Map<string, TraceSpan>()
    for (const [channel, { operationId, offset, template }] of lastOf) {
      const count = events.filter((event) => event.channel === channel).length
      const named = template === undefined ? {} : { template }
      spans.set(channel, startPublishSpan(this.#span, { operationId, channel, offset, count, ...named }))
    }
    announce(
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

  /** Also for one without an outcome of its own: a copy, or one that was not found out in time. */
  ended(): void {
    if (this.#span === undefined) return
    if (this.#outcome !== undefined) markOutcome(this.#span, this.#outcome)
    endSpan(this.#span, this.#code === undefined ? undefined : { errorType: this.#code })
  }
}

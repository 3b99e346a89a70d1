import { mutationPoint } from '../../protocol/mutation-point.ts'
import { touchedEvent } from '../../protocol/index.ts'
import {
  assertChannel,
  validateEvent,
  type Channel,
  type EventDataOf,
  type EventSchemas,
} from '../../core/index.ts'
import type { PendingEvent } from '../../postgres/index.ts'
import type { Contributions } from '../parts/contributions.ts'
import { assertOperationSize, toEventJson } from '../parts/event-json.ts'
import type { PartScope } from '../parts/part.ts'

/** Events of one attempt at an operation: those that wait for its COMMIT, and those that its mode has let leave at once. */
export class OperationEvents {
  readonly #waiting: Contributions<PendingEvent>
  /** Events that have left, and the bytes of their data. */
  readonly #left = { count: 0, bytes: 0 }
  /** Entries that move the heads of channels whose events have left. Absent where all of them wait. */
  readonly #touched: Contributions<PendingEvent> | undefined

  constructor(scope: Pick<PartScope, 'mode' | 'contributions'>) {
    this.#waiting = scope.contributions(({ data }) => Buffer.byteLength(data))
    this.#touched = scope.mode === 'enforce' ? undefined : scope.contributions()
  }

  /** Events that wait for the COMMIT, in the order they were emitted. */
  get waiting(): readonly PendingEvent[] {
    return this.#waiting.items
  }

  /** Entries that the flush appends: the events that wait, and one entry for each channel whose events have left. */
  get appended(): readonly PendingEvent[] {
    if (this.#touched === undefined) return this.waiting
    const byChannel = new Map(this.#touched.items.map((entry) => [entry.channel, entry]))
    return [...this.waiting, ...byChannel.values()]
  }

  /** Whether anything that is shown outside the database depends on how the operation ends. */
  get hasAny(): boolean {
    return this.#left.count > 0 || this.waiting.length > 0
  }

  /**
   * @param emitNow where the mode lets events leave at once
   * @throws LS_CHANNEL_INVALID, LS_EVENT_UNKNOWN, LS_EVENT_INVALID, LS_EVENT_TOO_LARGE, LS_OPERATION_TOO_LARGE
   */
  emit<Events extends EventSchemas, Type extends keyof Events & string>(
    channel: Channel<Events>,
    type: Type,
    data: EventDataOf<Events, Type>,
    emitNow?: (event: PendingEvent) => void,
  ): void {
    assertChannel(channel, 'tx.emit')
    const value = validateEvent(channel, type, data)
    const event: PendingEvent = {
      channel: channel.name,
      template: channel.definition.pattern,
      type,
      data: toEventJson(value, type),
    }
    const bytes = Buffer.byteLength(event.data)
    assertOperationSize({
      events: this.#left.count + this.waiting.length + 1,
      bytes: this.#left.bytes + this.#waiting.bytes + bytes,
    })
    if (emitNow === undefined) return this.#waiting.add(event)
    if (mutationPoint('event shown before it has a place')) this.#waiting.add(event)
    this.#left.count += 1
    this.#left.bytes += bytes
    this.#touched?.add({ ...event, type: touchedEvent, data: 'null' })
    emitNow(event)
  }
}

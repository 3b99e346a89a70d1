import type { StoredEvent } from '../log/index.ts'
import type { TransientEvent } from '../feeds/index.ts'
import type { ChannelHead } from './bus.ts'

/** A message between nodes. `data` stays text, so that it arrives as it was emitted. */
export interface BusMessage {
  readonly from: string
  /** History that the message belongs to. Nodes of an earlier release do not name it. */
  readonly scope?: string
  readonly events: readonly StoredEvent[]
  readonly heads: readonly ChannelHead[]
  readonly transients: readonly TransientEvent[]
}

/** The parts of a message, each as JSON text. */
export interface EncodedParts {
  readonly scope?: string | undefined
  readonly events?: readonly string[]
  readonly heads?: readonly string[]
  readonly transients?: readonly string[]
}

type EventTuple = readonly [string, number, string, string, number, string, string?, string?]
type HeadTuple = readonly [string, number]
type TransientTuple = readonly [string, string, string, number, string, string?]

/** JSON text of one event, to be put together by `encodeMessage`. */
export function encodeBusEvent(event: StoredEvent): string {
  const { channel, offset, operationId, type, at, data, traceparent, template } = event
  const tuple: EventTuple = [channel, offset, operationId, type, at.getTime(), data]
  if (traceparent === undefined) return JSON.stringify(tuple)
  return JSON.stringify(template === undefined ? [...tuple, traceparent] : [...tuple, traceparent, template])
}

/** JSON text of one head. */
export function encodeBusHead({ channel, head }: ChannelHead): string {
  const tuple: HeadTuple = [channel, head]
  return JSON.stringify(tuple)
}

/** JSON text of one event without an offset. */
export function encodeBusTransient({ channel, type, operationId, at, data, userId }: TransientEvent): string {
  const tuple: TransientTuple = [channel, type, operationId, at.getTime(), data]
  return JSON.stringify(userId === undefined ? tuple : [...tuple, userId])
}

/** The beginning of every message of a sender, and of no other message of Lockstep. */
export function beginningOf(from: string): string {
  return `{"from":${JSON.stringify(from)},`
}

/** Puts parts that are encoded already into one message. */
export function encodeMessage(from: string, parts: EncodedParts): string {
  const { scope, events = [], heads = [], transients = [] } = parts
  const history = scope === undefined ? '' : `"scope":${JSON.stringify(scope)},`
  const rest = transients.length === 0 ? '' : `,"transients":[${transients.join(',')}]`
  return `${beginningOf(from)}${history}"events":[${events.join(',')}],"heads":[${heads.join(',')}]${rest}}`
}

/** @returns undefined for anything that is not such a message: others may write to the same broker */
export function decodeMessage(text: string): BusMessage | undefined {
  let raw: Readonly<Partial<Record<keyof BusMessage, unknown>>> | null
  try {
    raw = JSON.parse(text) as typeof raw
  } catch {
    return undefined
  }
  if (typeof raw !== 'object' || raw === null) return undefined
  // Nodes of an earlier release do not know of the last.
  const { from, scope, events, heads, transients = [] } = raw
  if (typeof from !== 'string' || (scope !== undefined && typeof scope !== 'string')) return undefined
  if (!isListOf(events, isEventTuple) || !isListOf(heads, isHeadTuple)) return undefined
  if (!isListOf(transients, isTransientTuple)) return undefined
  return {
    from,
    ...(scope === undefined ? {} : { scope }),
    events: events.map(([channel, offset, operationId, type, at, data, traceparent, template]) => ({
      channel,
      offset,
      operationId,
      type,
      at: new Date(at),
      data,
      ...(traceparent === undefined ? {} : { traceparent }),
      ...(template === undefined ? {} : { template }),
    })),
    heads: heads.map(([channel, head]) => ({ channel, head })),
    transients: transients.map(([channel, type, operationId, at, data, userId]) => ({
      channel,
      type,
      operationId,
      at: new Date(at),
      data,
      ...(userId === undefined ? {} : { userId }),
    })),
  }
}

function isListOf<T>(value: unknown, isItem: (item: unknown) => item is T): value is readonly T[] {
  return Array.isArray(value) && value.every(isItem)
}

const largestTimeMs = 8.64e15

function isEventTuple(value: unknown): value is EventTuple {
  if (!Array.isArray(value)) return false
  const [channel, offset, operationId, type, at, data, traceparent, template] = value as readonly unknown[]
  return (
    (traceparent === undefined || typeof traceparent === 'string') &&
    (template === undefined || typeof template === 'string') &&
    typeof channel === 'string' &&
    isOffset(offset) &&
    typeof operationId === 'string' &&
    typeof type === 'string' &&
    isTime(at) &&
    typeof data === 'string'
  )
}

function isTransientTuple(value: unknown): value is TransientTuple {
  if (!Array.isArray(value)) return false
  const [channel, type, operationId, at, data, userId = ''] = value as readonly unknown[]
  return [channel, type, operationId, data, userId].every((text) => typeof text === 'string') && isTime(at)
}

function isTime(value: unknown): boolean {
  return Number.isInteger(value) && Math.abs(value as number) <= largestTimeMs
}

function isHeadTuple(value: unknown): value is HeadTuple {
  return Array.isArray(value) && typeof value[0] === 'string' && isOffset(value[1])
}

function isOffset(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) > 0
}

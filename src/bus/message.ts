import type { StoredEvent } from '../events/index.ts'
import type { ChannelHead } from './bus.ts'

/** What travels between nodes. `data` stays text, so that it arrives as it was emitted. */
export interface BusMessage {
  readonly from: string
  readonly events: readonly StoredEvent[]
  readonly heads: readonly ChannelHead[]
}

type EventTuple = readonly [string, number, string, string, number, string]
type HeadTuple = readonly [string, number]

/** JSON text of one event, to be put together by `encodeMessage`. */
export function encodeBusEvent({ channel, offset, operationId, type, at, data }: StoredEvent): string {
  const tuple: EventTuple = [channel, offset, operationId, type, at.getTime(), data]
  return JSON.stringify(tuple)
}

/** JSON text of one head. */
export function encodeBusHead({ channel, head }: ChannelHead): string {
  const tuple: HeadTuple = [channel, head]
  return JSON.stringify(tuple)
}

/** Puts parts that are encoded already into one message. */
export function encodeMessage(from: string, events: readonly string[], heads: readonly string[]): string {
  return `{"from":${JSON.stringify(from)},"events":[${events.join(',')}],"heads":[${heads.join(',')}]}`
}

/** @returns undefined for anything that is not such a message: others may write to the same broker */
export function decodeMessage(text: string): BusMessage | undefined {
  let raw: { readonly from?: unknown; readonly events?: unknown; readonly heads?: unknown } | null
  try {
    raw = JSON.parse(text) as typeof raw
  } catch {
    return undefined
  }
  if (typeof raw !== 'object' || raw === null) return undefined
  const { from, events, heads } = raw
  if (typeof from !== 'string' || !Array.isArray(events) || !Array.isArray(heads)) return undefined
  if (!events.every(isEventTuple) || !heads.every(isHeadTuple)) return undefined
  return {
    from,
    events: events.map(([channel, offset, operationId, type, at, data]) => ({
      channel,
      offset,
      operationId,
      type,
      at: new Date(at),
      data,
    })),
    heads: heads.map(([channel, head]) => ({ channel, head })),
  }
}

const largestTimeMs = 8.64e15

function isEventTuple(value: unknown): value is EventTuple {
  if (!Array.isArray(value)) return false
  const [channel, offset, operationId, type, at, data] = value as readonly unknown[]
  return (
    typeof channel === 'string' &&
    isOffset(offset) &&
    typeof operationId === 'string' &&
    typeof type === 'string' &&
    Number.isInteger(at) &&
    Math.abs(at as number) <= largestTimeMs &&
    typeof data === 'string'
  )
}

function isHeadTuple(value: unknown): value is HeadTuple {
  return Array.isArray(value) && typeof value[0] === 'string' && isOffset(value[1])
}

function isOffset(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) > 0
}

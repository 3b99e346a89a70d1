// Checks of what reached subscribers: I1, I2, I3, the order of I4 as each of them saw it, and I5, the rows that their
// reads saw.
import { canonicalJson } from './canonical-json.ts'
import type { Violation } from './checker.ts'
import type { HistoryLine } from './history.ts'
import { noticeType, type Oracle, type OracleEvent } from './oracle.ts'

type Line<Kind extends HistoryLine['kind']> = Extract<HistoryLine, { kind: Kind }>

/** Line of an event that was delivered, to one subscriber or to many. */
type Content = Line<'deliver' | 'payload'>

/** State of a subscriber on a channel. */
interface Stream {
  /** The last event it has, or was asked to reload up to. */
  position: number
  readonly seen: Set<number>
  /** Line of the history that brought the stream to its position. */
  last: HistoryLine
}

export function checkDeliveries(history: readonly HistoryLine[], oracle: Oracle): readonly Violation[] {
  const events = new Map(oracle.events.map((event) => [key(event.channel, event.offset), event]))
  const payloads = new Map<string, Content>()
  const streams = new Map<string, Stream>()
  const found: Violation[] = []
  for (const line of history) {
    if (line.kind === 'join' || line.kind === 'reset') {
      found.push(...place(line, streams))
    } else if (line.kind === 'deliver') {
      found.push(...phantom(line, events.get(key(line.channel, line.offset)), oracle))
      found.push(...samePayload(line, payloads))
      found.push(...inOrder(line, line.offset, streams))
    } else if (line.kind === 'unplaced' && line.type !== noticeType) {
      found.push({ rule: 'I1', what: 'an event was shown that has no place in the log', witness: [line] })
    } else if (line.kind === 'payload') {
      found.push(...phantom(line, events.get(key(line.channel, line.offset)), oracle))
      found.push(...samePayload(line, payloads))
    } else if (line.kind === 'run') {
      for (let offset = line.from; offset <= line.to; offset++) found.push(...inOrder(line, offset, streams))
    } else if (line.kind === 'read' && !line.found && oracle.effects.has(line.id)) {
      found.push(aheadOfState(line, history))
    }
  }
  return found
}

function aheadOfState(line: Line<'read'>, history: readonly HistoryLine[]): Violation {
  const delivered = history.find(
    (other) => other.kind === 'deliver' && other.id === line.id && other.subscriber === line.subscriber,
  )
  const what = 'a read after an event did not see the row that was written with it'
  return { rule: 'I5', what, witness: [delivered, line] }
}

const key = (channel: string, offset: number): string => `${channel} ${offset}`

function place(line: Line<'join' | 'reset'>, streams: Map<string, Stream>): readonly Violation[] {
  const name = key(line.subscriber, 0) + line.channel
  const stream = streams.get(name)
  if (stream === undefined) {
    streams.set(name, { position: line.offset, seen: new Set(), last: line })
    return []
  }
  const lost = line.kind === 'join' && line.offset > stream.position
  const violation: Violation = {
    rule: 'I2',
    what: `a subscriber joined again at ${line.offset} without what came after ${stream.position}, and was not asked to reload`,
    witness: [stream.last, line],
  }
  stream.position = line.kind === 'reset' ? line.offset : Math.max(line.offset, stream.position)
  // A reload begins a new view, in which events may be shown again.
  if (line.kind === 'reset') stream.seen.clear()
  stream.last = line
  return lost ? [violation] : []
}

function phantom(line: Content, event: OracleEvent | undefined, oracle: Oracle): readonly Violation[] {
  if (event === undefined) {
    const witness = [line, oracle.operations.get(line.id) ?? 'no such operation']
    return [{ rule: 'I1', what: 'an event was delivered that is not in the log', witness }]
  }
  const same = event.id === line.id && event.type === line.type && sameJson(event.data, line.data)
  if (same) return []
  return [{ rule: 'I1', what: 'an event was delivered that differs from the log', witness: [line, event] }]
}

function samePayload(line: Content, payloads: Map<string, Content>): readonly Violation[] {
  const name = key(line.channel, line.offset)
  const first = payloads.get(name)
  if (first === undefined) {
    payloads.set(name, line)
    return []
  }
  if (first.id === line.id && sameJson(first.data, line.data)) return []
  return [{ rule: 'I3', what: 'one offset was delivered with two payloads', witness: [first, line] }]
}

function inOrder(
  line: Line<'deliver' | 'run'>,
  offset: number,
  streams: Map<string, Stream>,
): readonly Violation[] {
  const name = key(line.subscriber, 0) + line.channel
  const stream = streams.get(name)
  if (stream === undefined) {
    // A stream begins with an event that was delivered before the subscriber heard that it had joined.
    streams.set(name, { position: offset, seen: new Set([offset]), last: line })
    return []
  }
  const { position, last, seen } = stream
  const witness = [last, line]
  const repeated = seen.has(offset)
  seen.add(offset)
  stream.last = line
  stream.position = Math.max(position, offset)
  if (repeated) return [{ rule: 'I3', what: `offset ${offset} was delivered twice`, witness }]
  if (offset <= position) {
    return [{ rule: 'I4', what: `offset ${offset} was delivered after ${position}`, witness }]
  }
  if (offset > position + 1) {
    const missed = `${position + 1}${offset > position + 2 ? ` to ${offset - 1}` : ''}`
    return [{ rule: 'I2', what: `offset ${missed} was never delivered`, witness }]
  }
  return []
}

/** Compares as JSON; the text may differ in the order of keys. */
function sameJson(a: string, b: string): boolean {
  return a === b || canonicalJson(JSON.parse(a)) === canonicalJson(JSON.parse(b))
}

// The log itself: I4, offsets without a hole, transactions that stand together, and the order of acknowledgements.
import type { Violation } from './checker.ts'
import type { HistoryLine } from './history.ts'
import { noticeType, type Oracle, type OracleEvent } from './oracle.ts'

export function checkLog(history: readonly HistoryLine[], oracle: Oracle): readonly Violation[] {
  const byOperation = groupBy(oracle.events, (event) => event.id)
  return [
    ...holes(oracle),
    ...together(byOperation),
    ...complete(history, oracle, byOperation),
    ...realTime(history, byOperation),
  ]
}

function holes(oracle: Oracle): readonly Violation[] {
  const found: Violation[] = []
  for (const [channel, events] of groupBy(oracle.events, (event) => event.channel)) {
    const wrong = events.find((event, index) => event.offset !== index + 1)
    const place = wrong === undefined ? -1 : events.indexOf(wrong)
    if (wrong !== undefined) {
      const witness = [events[place - 1], wrong].filter((event) => event !== undefined)
      found.push({
        rule: 'I4',
        what: `the log of ${channel} has a hole before offset ${wrong.offset}`,
        witness,
      })
    }
    const head = oracle.heads.get(channel)
    if (head !== events.length) {
      const what = `the head of ${channel} is ${head}, and its log holds ${events.length} events`
      found.push({ rule: 'I4', what, witness: [events.at(-1)] })
    }
  }
  return found
}

function together(byOperation: ReadonlyMap<string, readonly OracleEvent[]>): readonly Violation[] {
  const found: Violation[] = []
  for (const [id, events] of byOperation) {
    for (const [channel, ofChannel] of groupBy(events, (event) => event.channel)) {
      const wrong = ofChannel.some((event, index) => {
        const before = ofChannel[index - 1]
        return before !== undefined && (event.offset !== before.offset + 1 || seqOf(event) <= seqOf(before))
      })
      if (!wrong || ofChannel[0]?.type === noticeType) continue
      const what = `the events of operation ${id} do not stand together in ${channel}, in the order they were emitted`
      found.push({ rule: 'I4', what, witness: ofChannel })
    }
  }
  return found
}

/** Checks that a committed operation has all of its events, each in its channel. */
function complete(
  history: readonly HistoryLine[],
  oracle: Oracle,
  byOperation: ReadonlyMap<string, readonly OracleEvent[]>,
): readonly Violation[] {
  const found: Violation[] = []
  const checked = new Set<string>()
  for (const line of history) {
    if (line.kind !== 'invoke' || checked.has(line.id)) continue
    if (oracle.operations.get(line.id)?.state !== 'committed') continue
    const events = (byOperation.get(line.id) ?? []).toSorted((a, b) => seqOf(a) - seqOf(b))
    // Events of another input with the same id: that input committed, and not the one of this line.
    if (events[0] !== undefined && noteOf(events[0]) !== line.note) continue
    checked.add(line.id)
    const channels = events.map((event) => event.channel)
    if (channels.join(' ') === line.channels.join(' ')) continue
    const what = 'a committed operation does not have the events that it emitted'
    found.push({
      rule: channels.length > line.channels.length ? 'I7' : 'I2',
      what,
      witness: [line, ...events],
    })
  }
  return found
}

/** Checks that an operation acknowledged before another one was called stands before it in every channel they share. */
function realTime(
  history: readonly HistoryLine[],
  byOperation: ReadonlyMap<string, readonly OracleEvent[]>,
): readonly Violation[] {
  const found: Violation[] = []
  const invoked = new Set<string>()
  /** Highest offset by channel of the operations acknowledged so far. */
  const acknowledged = new Map<string, { readonly offset: number; readonly line: HistoryLine }>()
  const floors = new Map<string, { readonly line: HistoryLine; readonly floor: typeof acknowledged }>()
  for (const line of history) {
    if (line.kind === 'invoke' && !invoked.has(line.id)) {
      invoked.add(line.id)
      const floor = new Map<string, { readonly offset: number; readonly line: HistoryLine }>()
      for (const channel of line.channels) {
        const highest = acknowledged.get(channel)
        if (highest !== undefined) floor.set(channel, highest)
      }
      floors.set(line.id, { line, floor })
    } else if (line.kind === 'ok') {
      for (const { channel, offset } of byOperation.get(line.id) ?? []) {
        if (offset > (acknowledged.get(channel)?.offset ?? 0)) acknowledged.set(channel, { offset, line })
      }
    }
  }
  for (const [id, { line, floor }] of floors) {
    for (const event of byOperation.get(id) ?? []) {
      const before = event.type === noticeType ? undefined : floor.get(event.channel)
      if (before === undefined || event.offset > before.offset) continue
      const what = `an operation was asked for after offset ${before.offset} was acknowledged, and stands before it`
      found.push({ rule: 'I4', what, witness: [before.line, line, event] })
    }
  }
  return found
}

function noteOf({ data }: OracleEvent): string {
  const { note } = JSON.parse(data) as { readonly note?: string }
  return note ?? ''
}

function seqOf({ data }: OracleEvent): number {
  const { seq } = JSON.parse(data) as { readonly seq?: number }
  return seq ?? -1
}

export function groupBy<Item>(
  items: readonly Item[],
  keyOf: (item: Item) => string,
): ReadonlyMap<string, readonly Item[]> {
  const groups = new Map<string, Item[]>()
  for (const item of items) {
    const group = groups.get(keyOf(item))
    if (group === undefined) groups.set(keyOf(item), [item])
    else group.push(item)
  }
  return groups
}

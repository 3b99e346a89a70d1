// Histories of the database: I17. A failover to a replica that lagged, or a restored backup, begins another history; whoever
// has seen something of the one before must be asked to reload, and must hear nothing of the new one until then.
import type { Violation } from './checker.ts'
import type { HistoryLine } from './history.ts'
import type { Oracle, OracleEvent } from './oracle.ts'

type Placing = Extract<HistoryLine, { kind: 'join' | 'reset' | 'resume' }>

const isPlacing = (line: HistoryLine): line is Placing =>
  line.kind === 'join' || line.kind === 'reset' || line.kind === 'resume'

const nameOf = (line: { readonly subscriber: string; readonly channel: string }): string =>
  `${line.subscriber} ${line.channel}`

/**
 * Checks I17, that no history mixes with the one that replaces it.
 * @param oracles the database at the end of each history, oldest first
 */
export function checkHistories(
  history: readonly HistoryLine[],
  oracles: readonly Oracle[],
): readonly Violation[] {
  return [
    ...sharedEpochs(oracles),
    ...unknownEpochs(history, oracles),
    ...recoveredAcross(history),
    ...foreignEvents(history, oracles),
    ...neverTold(history, oracles),
  ]
}

/** Lines of what was delivered, by the epoch that their subscribers stood in. */
export function byEpoch(
  history: readonly HistoryLine[],
  first: string,
): ReadonlyMap<string, readonly HistoryLine[]> {
  const epochs = new Map<string, string>()
  const all = new Map<string, HistoryLine[]>()
  for (const line of history) {
    if (!isPlacing(line) && line.kind !== 'deliver' && line.kind !== 'run') continue
    if (line.kind === 'join' || line.kind === 'reset') epochs.set(nameOf(line), line.epoch ?? first)
    const epoch = epochs.get(nameOf(line)) ?? first
    const lines = all.get(epoch)
    if (lines === undefined) all.set(epoch, [line])
    else lines.push(line)
  }
  return all
}

function sharedEpochs(oracles: readonly Oracle[]): readonly Violation[] {
  const epochs = oracles.map(({ epoch }) => epoch)
  if (new Set(epochs).size === epochs.length) return []
  return [{ rule: 'I17', what: 'the history was replaced, and its epoch was not renewed', witness: epochs }]
}

/** Checks that there is one epoch for each history, and no more: a new epoch makes every subscriber reload. */
function unknownEpochs(history: readonly HistoryLine[], oracles: readonly Oracle[]): readonly Violation[] {
  const known = new Set(oracles.map(({ epoch }) => epoch))
  const seen = new Map<string, Placing>()
  for (const line of history) {
    if (isPlacing(line) && line.epoch !== undefined && !known.has(line.epoch) && !seen.has(line.epoch))
      seen.set(line.epoch, line)
  }
  return [...seen.values()].map((line) => ({
    rule: 'I17',
    what: 'a subscriber was given an epoch that no history has: it was renewed without a reason',
    witness: [line],
  }))
}

function recoveredAcross(history: readonly HistoryLine[]): readonly Violation[] {
  const found: Violation[] = []
  const last = new Map<string, Placing>()
  for (const line of history) {
    if (!isPlacing(line) || line.epoch === undefined) continue
    const before = last.get(nameOf(line))
    last.set(nameOf(line), line)
    if (line.kind === 'reset' || before === undefined || before.epoch === line.epoch) continue
    const what = `a subscriber went on from one history into another, as ${line.kind === 'join' ? 'one that joins' : 'one that missed nothing'}`
    found.push({ rule: 'I17', what, witness: [before, line] })
  }
  return found
}

/** Finds events that were delivered in one history, and stand in another one instead. */
function foreignEvents(history: readonly HistoryLine[], oracles: readonly Oracle[]): readonly Violation[] {
  const key = (channel: string, offset: number): string => `${channel} ${offset}`
  const logs = oracles.map(({ epoch, events }) => ({
    epoch,
    events: new Map<string, OracleEvent>(events.map((event) => [key(event.channel, event.offset), event])),
  }))
  const found: Violation[] = []
  for (const [epoch, lines] of byEpoch(history, oracles[0]?.epoch ?? '')) {
    for (const line of lines) {
      if (line.kind !== 'deliver') continue
      const place = key(line.channel, line.offset)
      const inOwn = logs.find((log) => log.epoch === epoch)?.events.get(place)
      if (inOwn?.id === line.id) continue
      const other = logs.find((log) => log.epoch !== epoch && log.events.get(place)?.id === line.id)
      if (other === undefined) continue
      const what = 'an event of one history was delivered to a subscriber that stands in another one'
      found.push({ rule: 'I17', what, witness: [line, inOwn ?? 'not in the log of its own'] })
    }
  }
  return found
}

/** Checks that every subscriber ends up in the last history. */
function neverTold(history: readonly HistoryLine[], oracles: readonly Oracle[]): readonly Violation[] {
  const epoch = oracles.at(-1)?.epoch
  const last = new Map<string, Placing>()
  for (const line of history) if (isPlacing(line) && line.epoch !== undefined) last.set(nameOf(line), line)
  return [...last.values()]
    .filter((line) => line.epoch !== epoch)
    .map((line) => ({
      rule: 'I17',
      what: 'a subscriber was never told that the history is another one',
      witness: [line],
    }))
}

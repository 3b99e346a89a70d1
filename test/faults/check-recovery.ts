// Checks of the end of a run: I11, every subscriber at the head and no operation open, and I12, no process that ended
// by itself.
import type { Violation } from './checker.ts'
import type { HistoryLine } from './history.ts'
import type { Oracle } from './oracle.ts'

/** Fault that the driver notes when a process ends that no fault has ended. */
export const unexpectedExit = 'unexpected-exit'

export function checkRecovery(history: readonly HistoryLine[], oracle: Oracle): readonly Violation[] {
  const found: Violation[] = []
  for (const operation of oracle.operations.values()) {
    if (operation.state !== 'started') continue
    found.push({ rule: 'I11', what: 'an operation is still open', witness: [operation] })
  }
  for (const line of history) {
    if (line.kind === 'fault' && line.fault === unexpectedExit) {
      found.push({ rule: 'I12', what: 'a process ended by itself', witness: [line] })
    }
    if (line.kind !== 'recovered') continue
    for (const missing of line.missing) {
      const what = `not recovered ${Math.round(line.afterMs)} ms after the last fault: ${missing}`
      found.push({ rule: 'I11', what, witness: [] })
    }
  }
  return [...found, ...notServed(history), ...behind(history, oracle)]
}

/** Finds calls that were made when all faults were over, and did not commit. */
function notServed(history: readonly HistoryLine[]): readonly Violation[] {
  const healed = history.findIndex((line) => line.kind === 'healed')
  const after = healed === -1 ? [] : history.slice(healed)
  const committed = new Set(after.flatMap((line) => (line.kind === 'ok' ? [line.id] : [])))
  return after
    .filter((line) => line.kind === 'invoke' && line.copy !== true && !committed.has(line.id))
    .map((line) => ({
      rule: 'I11',
      what: 'a call that was made after the last fault did not commit',
      witness: [
        line,
        ...after.filter((other) => 'id' in other && other.id === (line as { id: string }).id).slice(1),
      ],
    }))
}

type PlacingLine = Extract<HistoryLine, { kind: 'join' | 'reset' | 'deliver' | 'run' }>

const isPlacing = (line: HistoryLine): line is PlacingLine =>
  line.kind === 'join' || line.kind === 'reset' || line.kind === 'deliver' || line.kind === 'run'

/** Subscribers whose last position is not the head of their channel. */
function behind(history: readonly HistoryLine[], oracle: Oracle): readonly Violation[] {
  const last = new Map<string, { readonly offset: number; readonly line: PlacingLine }>()
  for (const line of history) {
    if (!isPlacing(line)) continue
    const name = `${line.subscriber} ${line.channel}`
    const offset = line.kind === 'run' ? line.to : line.offset
    const before = last.get(name)
    if (line.kind === 'reset' || before === undefined || offset >= before.offset)
      last.set(name, { offset, line })
  }
  const found: Violation[] = []
  for (const { offset, line } of last.values()) {
    const head = oracle.heads.get(line.channel) ?? 0
    if (offset >= head) continue
    const what = `${line.subscriber} stands at ${offset} of ${line.channel}, whose head is ${head}`
    found.push({ rule: 'I11', what, witness: [line] })
  }
  return found
}

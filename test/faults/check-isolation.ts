// Check of I8: no byte that a subscriber received had a mark of another tenant, of another user, or of a place that the
// subscriber is not in.
import type { Violation } from './checker.ts'
import type { HistoryLine } from './history.ts'

export function checkIsolation(history: readonly HistoryLine[]): readonly Violation[] {
  const members = new Map<string, Extract<HistoryLine, { kind: 'member' }>>()
  const found: Violation[] = []
  for (const line of history) {
    if (line.kind === 'member') members.set(line.name, line)
    if (line.kind !== 'mark') continue
    const member = members.get(line.name)
    if (member?.entitled.includes(line.owner) === true) continue
    const what = `${line.name} received what belongs to ${line.owner}`
    found.push({ rule: 'I8', what, witness: [member ?? 'nobody of that name', line] })
  }
  return found
}

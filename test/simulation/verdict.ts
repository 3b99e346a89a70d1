/** Rules that a simulation checks, in the words of its report. */
export const rules = {
  order:
    'a subscriber is shown the offsets of a channel in order, each once and without a hole, within an epoch',
  phantom: 'no event is shown that is not in the log, nor one of an operation without its outcome',
  outcome: 'each operation has one outcome, and every answer names it',
  notice: 'each operation that was rolled back has one notice in the log, and no other operation has any',
  effect:
    'a committed operation has the events that its work has left to stand, and no other operation has any',
  withdrawal:
    'what was shown of an operation before its COMMIT is withdrawn once if it is rolled back, and only then',
  orphan: 'an operation of a node is settled by another only when its lease is dead',
  fence: 'no flush commits of an operation that was settled, or that no intent tells of',
  lease: 'a node takes its lease for held only while the database does',
  history: 'nothing is written to a history before it has a name of its own',
  reload: 'a subscriber reloads only where what it missed cannot be had',
  runs: 'a run follows its states, each step commits once and in the attempt that has it, and a stop is kept',
  quiet: 'when all is quiet, everyone is at the head and nothing is open',
  alive: 'no part of a node throws what nobody handles',
} as const

export type Rule = keyof typeof rules

export interface Violation {
  readonly rule: Rule
  readonly what: string
  readonly atMs: number
}

/** Collects what was broken, in the order in which it was seen. */
export class Verdict {
  readonly violations: Violation[] = []
  readonly #nowMs: () => number

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs
  }

  broken(rule: Rule, what: string): void {
    this.violations.push({ rule, what, atMs: this.#nowMs() })
  }
}

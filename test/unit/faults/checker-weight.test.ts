// Rule I13 of the fault lane's checker: a run that was too light to show anything is invalid.
import { describe, expect, it } from 'vitest'
import { checkWeight, type Weight } from '../../faults/check-weight.ts'
import type { HistoryEntry, HistoryLine } from '../../faults/history.ts'
import { noRuns, type Oracle, type OracleOperation } from '../../faults/oracle.ts'

const operation = (id: string, state: OracleOperation['state']): [string, OracleOperation] => {
  return [id, { id, user: 'bob', state, unheard: false }]
}
const oracle: Oracle = {
  operations: new Map([operation('good', 'committed'), operation('bad', 'rolled_back')]),
  events: [],
  heads: new Map(),
  effects: new Map(),
  receipts: new Map(),
  promises: new Map(),
  runs: noRuns,
  epoch: 'first',
}

const invoke = (id: string): HistoryEntry => ({
  kind: 'invoke',
  id,
  client: 'caller',
  user: 'bob',
  channels: [],
  note: '',
})
const deliver = (offset: number): HistoryEntry => {
  return {
    kind: 'deliver',
    subscriber: 'ada',
    channel: 'room:a',
    offset,
    type: 'done',
    id: 'good',
    data: '{}',
  }
}
const heavy: readonly HistoryEntry[] = [
  invoke('good'),
  invoke('bad'),
  deliver(1),
  deliver(2),
  { kind: 'fault', fault: 'kill' },
  { kind: 'fault', fault: 'kill/transaction.after-commit' },
  { kind: 'fault', fault: 'postgres-crash/kill' },
  { kind: 'fault', fault: 'commit/reply-lost', id: 'good' },
  { kind: 'fault', fault: 'commit/dropped', id: 'bad' },
  { kind: 'fault', fault: 'commit/delayed', id: 'good' },
  { kind: 'fault', fault: 'sigstop' },
]
const weight: Weight = { operations: 2, kills: 2, postgresCrashes: 1, lostCommits: 1, faults: ['sigstop'] }

function missing(entries: readonly HistoryEntry[], least: Weight): readonly string[] {
  const history = entries.map((entry, t): HistoryLine => ({ t, ...entry }))
  return checkWeight(history, oracle, least).map(({ rule, what }) => `${rule}: ${what}`)
}

describe('the weight of a run', () => {
  it('is enough when all was there', () => {
    expect(missing(heavy, weight)).toEqual([])
  })

  it.each<[string, Partial<Weight>]>([
    ['2 operations', { operations: 3 }],
    ['2 process kills', { kills: 3 }],
    ['1 Postgres crashes', { postgresCrashes: 2 }],
    ['1 lost replies of COMMITs that took effect', { lostCommits: 2 }],
    ['1 lost replies of COMMITs that did not', { lostCommits: 2 }],
    ['2 deliveries', { operations: 3 }],
    ['2 deliveries', { deliveries: 3 }],
    ['0 clients whose bytes were searched', { subscribers: 1 }],
    ['0 marks in what was received', { deliveries: 1 }],
    ['0 broker kills', { brokerKills: 1 }],
    ['0 black holes of the bus', { blackHoles: 1 }],
    ['0 stalls of the bus towards the nodes', { stalls: 1 }],
    ['0 stalls of the bus from the nodes', { stalls: 1 }],
    ['0 bytes heard from the bus', { busBytes: 1 }],
    ['0 faults of the kind sigterm', { faults: ['sigterm'] }],
  ])('is too little with %s', (what, more) => {
    const found = missing(heavy, { ...weight, ...more })
    expect(found.some((text) => text.startsWith(`I13: ${what}`))).toBe(true)
  })

  it('counts what a crowd received, and what was done to its bus', () => {
    const run: HistoryEntry = { kind: 'run', subscriber: 'crowd', channel: 'room:a', from: 1, to: 98 }
    const faults = ['broker-kill', 'bus/black-hole', 'bus/stall-up', 'bus/stall-down'].map(
      (fault): HistoryEntry => ({ kind: 'fault', fault }),
    )
    const searched: HistoryEntry = { kind: 'searched', name: 'crowd', marks: 100 }
    const wide = [...heavy, run, ...faults, searched, { kind: 'bus', bytesHeard: 1_000 } as const]
    const least = {
      deliveries: 100,
      subscribers: 1,
      brokerKills: 1,
      blackHoles: 1,
      stalls: 1,
      busBytes: 1_000,
    }
    expect(missing(wide, { ...weight, ...least })).toEqual([])
  })

  it('counts a lost COMMIT by how it truly ended, whatever was meant', () => {
    const turned = heavy.map((entry) =>
      entry.kind === 'fault' && entry.id === 'bad' ? { ...entry, id: 'good' } : entry,
    )
    expect(missing(turned, weight)).toEqual([
      'I13: 0 lost replies of COMMITs that did not, at least 1 are needed',
    ])
  })
})

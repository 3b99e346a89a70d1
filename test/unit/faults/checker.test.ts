// The checker of the fault lane, on histories made by hand: one that is in order, and what each rule must find in others.
import { describe, expect, it } from 'vitest'
import { check, rules, type Rule } from '../../faults/checker.ts'
import type { HistoryEntry, HistoryLine, Told } from '../../faults/history.ts'
import { rollbackWords, wordsOf } from '../../faults/places.ts'
import { noticeType, type Oracle, type OracleEvent, type OracleOperation } from '../../faults/oracle.ts'
import { noRuns } from '../../faults/run-oracle.ts'

const room = 'room:a'
const own = 'user:bob'

const eventOf = (id: string, offset: number, seq = 0): OracleEvent => {
  return { channel: room, offset, id, type: 'done', data: JSON.stringify({ operation: id, seq }) }
}
const noticeOf = (id: string, offset = 1): OracleEvent => {
  return {
    channel: own,
    offset,
    id,
    type: noticeType,
    data: JSON.stringify({ transactionId: id, ...rollbackWords }),
  }
}

const declared = wordsOf(rollbackWords)

const invoke = (id: string, more: object = {}): HistoryEntry => {
  return { kind: 'invoke', id, client: 'caller', user: 'bob', channels: [room], note: '', ...more }
}
const ok = (id: string, more: object = {}): HistoryEntry => {
  const positions = { [room]: id === 'one' ? 1 : 2 }
  return { kind: 'ok', id, client: 'caller', reply: `committed ${id}`, note: '', positions, ...more }
}
const failed = (id: string, more: object = {}): HistoryEntry => {
  const fail = {
    kind: 'fail',
    id,
    client: 'caller',
    told: 'rolled_back',
    reply: `rolled back ${id}`,
    words: declared,
  } as const
  return { ...fail, ...more }
}
const outcome = (id: string, told: Told, transient = false): HistoryEntry => {
  return { kind: 'outcome', id, client: 'caller', told, transient }
}
const notice = (id: string, page = 0, transient = false, words = declared): HistoryEntry => {
  return { kind: 'notice', id, client: 'caller', page, transient, words }
}
const join = (offset: number, channel = room): HistoryEntry => {
  return { kind: 'join', subscriber: 'ada', channel, offset }
}
const reset = (offset: number): HistoryEntry => ({ kind: 'reset', subscriber: 'ada', channel: room, offset })
const deliver = (event: OracleEvent, more: object = {}): HistoryEntry => {
  return { kind: 'deliver', subscriber: 'ada', ...event, ...more }
}

const payload = ({ channel, offset, type, id, data }: OracleEvent): HistoryEntry => {
  return { kind: 'payload', channel, offset, type, id, data }
}
const run = (from: number, to: number): HistoryEntry => {
  return { kind: 'run', subscriber: 'crowd', channel: room, from, to }
}
const mark = (name: string, owner: string): HistoryEntry => ({ kind: 'mark', name, owner })
const other: OracleEvent = { ...eventOf('two', 2), data: '{"seq":9}' }

/** A history without violations: `one` and `two` committed with an event each, `bad` was rolled back. */
const healthy: readonly HistoryEntry[] = [
  join(0),
  invoke('one'),
  outcome('one', 'committed'),
  ok('one'),
  deliver(eventOf('one', 1)),
  { kind: 'read', id: 'one', subscriber: 'ada', found: true },
  invoke('bad'),
  notice('bad'),
  outcome('bad', 'rolled_back'),
  failed('bad'),
  invoke('two'),
  outcome('two', 'committed'),
  ok('two'),
  deliver(eventOf('two', 2)),
  { kind: 'fault', fault: 'kill' },
  { kind: 'recovered', afterMs: 10, missing: [] },
]

/** The healthy history with a listener of many, whose deliveries are written as runs. */
const crowd: readonly HistoryEntry[] = [
  ...healthy,
  { kind: 'join', subscriber: 'crowd', channel: room, offset: 0 },
  payload(eventOf('one', 1)),
  payload(eventOf('two', 2)),
]

interface World {
  readonly operations: readonly OracleOperation[]
  readonly events: readonly OracleEvent[]
  readonly effects: Readonly<Record<string, number>>
  /** Receipts of each operation. Default: as many as effects. */
  readonly receipts?: Readonly<Record<string, number>>
  readonly promises?: Readonly<Record<string, string>>
  readonly heads?: Readonly<Record<string, number>>
}

const operation = (id: string, state: OracleOperation['state'], unheard = false): OracleOperation => {
  return { id, user: 'bob', state, unheard }
}

const world: World = {
  operations: [operation('one', 'committed'), operation('bad', 'rolled_back'), operation('two', 'committed')],
  events: [eventOf('one', 1), eventOf('two', 2), noticeOf('bad')],
  effects: { one: 1, two: 1 },
}

function oracleOf({ operations, events, effects, receipts, promises, heads }: World): Oracle {
  const counted = new Map<string, number>()
  for (const { channel } of events) counted.set(channel, (counted.get(channel) ?? 0) + 1)
  return {
    operations: new Map(operations.map((row) => [row.id, row])),
    events,
    heads: heads === undefined ? counted : new Map(Object.entries(heads)),
    effects: new Map(Object.entries(effects)),
    receipts: new Map(Object.entries(receipts ?? effects)),
    promises: new Map(Object.entries(promises ?? {})),
    runs: noRuns,
    epoch: 'first',
  }
}

/** Checks a history, and names the rules that are broken. */
function broken(entries: readonly HistoryEntry[], changed: Partial<World> = {}): readonly Rule[] {
  const history = entries.map((entry, index): HistoryLine => ({ t: index, ...entry }))
  const found = check({ history, oracle: oracleOf({ ...world, ...changed }) })
  return [...new Set(found.map(({ rule }) => rule))]
}

const without = (...gone: readonly HistoryEntry[]): readonly HistoryEntry[] => {
  const texts = new Set(gone.map((entry) => JSON.stringify(entry)))
  return healthy.filter((entry) => !texts.has(JSON.stringify(entry)))
}

describe('a history that is in order', () => {
  it('breaks no rule', () => {
    expect(broken(healthy)).toEqual([])
  })

  it.each<[string, readonly HistoryEntry[], Partial<World>]>([
    [
      'a subscriber that came late',
      [...without(join(0), deliver(eventOf('one', 1))), join(1)].toSorted(byJoin),
      {},
    ],
    [
      'one that was asked to reload',
      [...without(deliver(eventOf('one', 1)), deliver(eventOf('two', 2))), reset(2)],
      {},
    ],
    [
      'a copy with the same reply',
      [...healthy, invoke('one', { copy: true }), ok('one', { copy: true })],
      {},
    ],
    [
      'a copy without a reply',
      [...healthy, invoke('two', { copy: true }), { kind: 'info', id: 'two', client: 'x', why: 'lost' }],
      {},
    ],
    [
      'another input of an id, which was refused',
      [
        ...healthy,
        invoke('one', { copy: true, note: 'other', channels: [] }),
        { kind: 'info', id: 'one', client: 'x', why: 'refused' },
      ],
      {},
    ],
    [
      'a notice reported from memory',
      [...healthy, { kind: 'unplaced', subscriber: 'ada', channel: own, type: noticeType, id: 'bad' }],
      {},
    ],
    ['a call that was refused', [...healthy, invoke('no'), failed('no', { told: 'refused' })], {}],
    ['a reply that was lost, and the outcome heard later', without(ok('one')), {}],
    [
      'an id that was closed unheard',
      [...healthy, invoke('lost'), outcome('lost', 'never_received')],
      { operations: [...world.operations, operation('lost', 'rolled_back', true)] },
    ],
    [
      'a crowd, each with the marks of its own',
      [...crowd, run(1, 2), { kind: 'member', name: 'crowd', entitled: ['acme/0'] }, mark('crowd', 'acme/0')],
      {},
    ],
    [
      'a rollback told while the database was away, by a node that died then',
      [...healthy, invoke('away'), outcome('away', 'rolled_back', true), failed('away', { transient: true })],
      {},
    ],
  ])('nor does %s', (_, entries, changed) => {
    expect(broken(entries, changed)).toEqual([])
  })
})

// A subscriber's join stands before what is delivered to it.
function byJoin(a: HistoryEntry, b: HistoryEntry): number {
  return Number(b.kind === 'join') - Number(a.kind === 'join')
}

const sorry = JSON.stringify({ ...rollbackWords, userMessage: 'Sorry.' })

const cases: readonly [Rule, string, readonly HistoryEntry[], Partial<World>?][] = [
  ['I1', 'an event that is not in the log', [...healthy, deliver(eventOf('ghost', 3))]],
  [
    'I1',
    'an event with another payload than the log',
    [...without(deliver(eventOf('two', 2))), deliver(eventOf('two', 2), { data: '{"seq":9}' })],
  ],
  [
    'I1',
    'an event without a place in the log',
    [...healthy, { kind: 'unplaced', subscriber: 'ada', channel: room, type: 'done', id: 'one' }],
  ],
  ['I2', 'an offset that was jumped over', without(deliver(eventOf('one', 1)))],
  [
    'I2',
    'a join that leaves something out',
    [join(0), ...without(join(0), deliver(eventOf('two', 2))), join(2)],
  ],
  ['I2', 'an event that is missing in the log', healthy, { events: [eventOf('two', 1), noticeOf('bad')] }],
  ['I3', 'an offset that came twice', [...healthy, deliver(eventOf('two', 2))]],
  [
    'I3',
    'one offset with two payloads',
    [...healthy, deliver(eventOf('two', 2), { subscriber: 'eve', data: '{"seq":9}' })],
  ],
  ['I4', 'an offset that came late', [join(5), join(0, 'room:b'), ...without(join(0))]],
  ['I4', 'a hole in the log', healthy, { events: [eventOf('one', 1), eventOf('two', 3), noticeOf('bad')] }],
  ['I4', 'a head beyond the log', healthy, { heads: { [room]: 3, [own]: 1 } }],
  [
    'I4',
    'an order against the acknowledgements',
    healthy,
    { events: [eventOf('two', 1), eventOf('one', 2), noticeOf('bad')] },
  ],
  [
    'I4',
    'a transaction that does not stand together',
    [...healthy, invoke('many', { channels: [room, room] }), outcome('many', 'committed')],
    {
      operations: [...world.operations, operation('many', 'committed')],
      events: [
        eventOf('one', 1),
        eventOf('many', 2, 0),
        eventOf('two', 3),
        eventOf('many', 4, 1),
        noticeOf('bad'),
      ],
      effects: { one: 1, two: 1, many: 1 },
    },
  ],
  [
    'I4',
    'positions of a reply that are not where its events stand',
    [...without(ok('one')), ok('one', { positions: { [room]: 2 } })],
  ],
  [
    'I4',
    'positions of a reply that leave a channel out',
    [...without(ok('one')), ok('one', { positions: {} })],
  ],
  [
    'I5',
    'a read that does not see what was delivered',
    [...healthy, { kind: 'read', id: 'two', subscriber: 'ada', found: false }],
  ],
  ['I6', 'an outcome that nobody was told', without(outcome('one', 'committed'))],
  ['I6', 'an outcome told twice', [...healthy, outcome('one', 'committed')]],
  ['I6', 'a notice told twice', [...healthy, notice('bad')]],
  ['I6', 'a notice in other words', [...without(notice('bad')), notice('bad', 0, false, 'Sorry.')]],
  ['I6', 'a reply in other words', [...without(failed('bad')), failed('bad', { words: 'Sorry.' })]],
  [
    'I6',
    'a durable notice in other words',
    healthy,
    { events: [eventOf('one', 1), eventOf('two', 2), { ...noticeOf('bad'), data: sorry }] },
  ],
  ['I6', 'a notice for what was committed', [...healthy, notice('one')]],
  [
    'I6',
    'a rollback told as committed',
    [...without(outcome('bad', 'rolled_back')), outcome('bad', 'committed')],
  ],
  [
    'I6',
    'a commit told as never received',
    [...without(outcome('one', 'committed')), outcome('one', 'never_received')],
  ],
  [
    'I6',
    'a rollback that was told for good and is not there',
    [...healthy, invoke('away'), outcome('away', 'rolled_back')],
  ],
  ['I6', 'a commit told as a rollback while the database was away', [...healthy, notice('one', 0, true)]],
  ['I6', 'a refusal of what was committed', [...without(ok('one')), failed('one', { told: 'refused' })]],
  [
    'I6',
    'an unknown id that was not closed',
    [...healthy, invoke('lost'), outcome('lost', 'never_received')],
  ],
  ['I6', 'a rollback without a notice', healthy, { events: [eventOf('one', 1), eventOf('two', 2)] }],
  ['I6', 'a rollback with two notices', healthy, { events: [...world.events, noticeOf('bad', 2)] }],
  ['I6', 'a row without an operation', healthy, { effects: { one: 1, two: 1, stray: 1 } }],
  ['I6', 'a commit without its row', healthy, { effects: { one: 1 } }],
  ['I6', 'a notice that a reloaded page shows again', [...healthy, notice('bad', 1)]],
  ['I7', 'an operation without the rows of its second part', healthy, { receipts: { two: 1 } }],
  ['I6', 'a promise of a rolled back operation that stands', healthy, { promises: { bad: 'promises:1' } }],
  ['I7', 'two effects of one operation', healthy, { effects: { one: 2, two: 1 } }],
  [
    'I7',
    'different replies',
    [...healthy, invoke('one', { copy: true }), ok('one', { copy: true, reply: 'else' })],
  ],
  [
    'I7',
    'the outcome of another input',
    [...healthy, invoke('one', { copy: true, note: 'other' }), ok('one', { copy: true })],
  ],
  [
    'I8',
    'a mark of another tenant',
    [...healthy, { kind: 'member', name: 'ada', entitled: ['acme/0'] }, mark('ada', 'globex/0')],
  ],
  ['I8', 'a mark in what somebody unknown received', [...healthy, mark('eve', 'acme/0')]],
  ['I1', 'an event for many that is not in the log', [...healthy, payload(eventOf('ghost', 3))]],
  ['I2', 'a run that begins too late', [...crowd, run(2, 2)]],
  ['I3', 'two runs that overlap', [...crowd, run(1, 2), run(2, 2)]],
  ['I3', 'one that received something else than all others', [...crowd, run(1, 2), deliver(other)]],
  ['I11', 'a run that ends too early', [...crowd, run(1, 1)]],
  ['I9', 'a row of what was rolled back', healthy, { effects: { one: 1, two: 1, bad: 1 } }],
  ['I9', 'an event of what was rolled back', healthy, { events: [...world.events, eventOf('bad', 3)] }],
  ['I6', 'a noted operation that is unknown', [...healthy, { kind: 'noted', id: 'ghost' }]],
  [
    'I6',
    'a noted operation that was closed unheard',
    [...healthy, { kind: 'noted', id: 'lost' }],
    { operations: [...world.operations, operation('lost', 'rolled_back', true)] },
  ],
  [
    'I11',
    'an operation that is still open',
    healthy,
    { operations: [...world.operations, operation('open', 'started')] },
  ],
  ['I11', 'a subscriber that is behind', without(deliver(eventOf('two', 2)))],
  [
    'I11',
    'what the driver waited for in vain',
    [...healthy, { kind: 'recovered', afterMs: 30_001, missing: ['x'] }],
  ],
  [
    'I11',
    'a call after the last fault that was refused',
    [...healthy, { kind: 'healed' }, invoke('late'), failed('late', { told: 'refused' })],
  ],
  ['I12', 'a process that ended by itself', [...healthy, { kind: 'fault', fault: 'unexpected-exit' }]],
]

describe('the checker', () => {
  it.each(cases)('finds %s: %s', (rule, _, entries, changed) => {
    expect(broken(entries, changed)).toContain(rule)
  })

  it('shows the least that proves it', () => {
    const history = [...healthy, outcome('one', 'committed')].map((entry, t): HistoryLine => ({
      t,
      ...entry,
    }))
    expect(check({ history, oracle: oracleOf(world) })).toEqual([
      {
        rule: 'I6',
        what: 'a user was told of one operation twice',
        witness: [history[2], history.at(-1)],
      },
    ])
  })

  it('marks what is a known limit: a rollback reported from memory, of a call that was sent twice', () => {
    const entries = [
      ...healthy,
      invoke('one', { copy: true }),
      failed('one', { copy: true, transient: true }),
    ]
    const history = entries.map((entry, t): HistoryLine => ({ t, ...entry }))
    expect(check({ history, oracle: oracleOf(world) })).toMatchObject([{ rule: 'I6', known: true }])
  })

  it('has a case for each of its rules', () => {
    const tested = new Set<string>([...cases.map(([rule]) => rule), 'I13', 'I15', 'I17'])
    expect([...tested].toSorted()).toEqual(Object.keys(rules).toSorted())
  })
})

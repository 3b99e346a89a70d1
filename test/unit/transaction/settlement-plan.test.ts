// Turns of settlements: in whatever order they are asked for, held up, refused and answered.
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { longestBatch, type QueuedSettlement } from '../../../src/transaction/settle/channel-trouble.ts'
import {
  SettlementPlan,
  type BatchFailure,
  type SettlementBatch,
} from '../../../src/transaction/settle/settlement-plan.ts'

interface Entry extends QueuedSettlement {
  readonly name: string
  end?: 'answered' | BatchFailure | 'stopped'
}

const patienceMs = 400

/** A plan with statements that end when the test says so, and a check of every step that it takes. */
class Play {
  nowMs = 0
  /** Rules that a step has broken. */
  readonly broken: string[] = []
  isStopping = false
  readonly open = new Set<Entry>()
  readonly underWay: SettlementBatch<Entry>[] = []
  readonly #plan: SettlementPlan<Entry>
  readonly #width: number
  #asked = 0
  #untilMs: number | undefined

  constructor(width: number) {
    this.#width = width
    this.#plan = new SettlementPlan(width, patienceMs)
  }

  ask(channel: string | undefined, isSuspect: boolean, isOrphan: boolean): void {
    const isStopping = isOrphan ? () => this.isStopping : undefined
    const entry: Entry = { name: `${this.#asked++}`, channel, isSuspect, isOrphan, isStopping }
    this.open.add(entry)
    this.#plan.add(entry, this.nowMs)
    this.goOn()
  }

  goOn(): void {
    for (;;) {
      const next = this.#plan.next(this.nowMs)
      if (next.step === 'wait') {
        this.#untilMs = next.untilMs
        // A timer for it would fire at once, again and again, until a statement under way is answered.
        if ((next.untilMs ?? Infinity) <= this.nowMs) this.broken.push('a wait that is over already')
        return this.#assertAwake()
      }
      if (next.step === 'fail') for (const entry of next.entries) this.#end(entry, 'stopped')
      else {
        this.underWay.push(next.batch)
        this.#assertBatch(next.batch)
      }
    }
  }

  end(which: number, how: 'answered' | BatchFailure): void {
    const [batch] = this.underWay.splice(which % this.underWay.length, 1)
    if (batch === undefined) return
    if (how === 'answered') {
      for (const entry of batch.entries) this.#end(entry, how)
      this.#plan.answered(batch)
    } else {
      const lost = this.#plan.failed(batch, how, how, this.nowMs)
      for (const entry of lost) {
        this.#end(entry, how)
        this.check(how !== 'heldUp' || entry.heldSince !== undefined, 'told as held up, and never was')
      }
    }
    this.goOn()
  }

  /** Lets time pass: to the end of the wait, where there is one. */
  wait(ms: number): void {
    this.nowMs += ms
    this.goOn()
  }

  /** Answers whatever is sent until nothing is left. Resolves to how many statements that took. */
  answerAll(): number {
    let sent = 0
    while (this.open.size > 0) {
      if (this.underWay.length > 0) {
        this.end(0, 'answered')
        sent += 1
      } else {
        // Time alone can bring on the rest while nothing is under way, and soon.
        const waitMs = (this.#untilMs ?? Infinity) - this.nowMs
        this.check(waitMs <= patienceMs, 'a settlement is left to wait for ever')
        if (waitMs > patienceMs) return sent
        this.wait(waitMs)
      }
    }
    return sent
  }

  check(holds: boolean, rule: string): void {
    if (!holds) this.broken.push(rule)
  }

  #end(entry: Entry, how: NonNullable<Entry['end']>): void {
    this.check(entry.end === undefined, 'a settlement ends twice')
    entry.end = how
    this.open.delete(entry)
  }

  #assertBatch({ entries, trouble }: SettlementBatch<Entry>): void {
    const others = this.underWay.slice(0, -1)
    this.check(this.underWay.length <= this.#width, 'more statements than there may be')
    this.check(entries.length > 0 && entries.length <= longestBatch, 'a batch of the wrong length')
    const flown = this.underWay.flatMap((batch) => batch.entries)
    this.check(new Set(flown).size === flown.length, 'a settlement goes twice at a time')
    this.check(
      entries.every(({ end }) => end === undefined),
      'a settlement goes that has ended',
    )
    const isOrphan = entries.some((entry) => entry.isOrphan)
    this.check(
      entries.every((entry) => entry.isOrphan === isOrphan),
      'orphans go with others',
    )
    const hasOrphans = others.some((batch) => batch.entries[0]?.isOrphan === true)
    this.check(!isOrphan || !hasOrphans, 'two statements with orphans')
    if (trouble === undefined) return
    this.check(!others.some((batch) => batch.trouble !== undefined), 'two tries at a time')
    this.check(new Set(entries.map(({ channel }) => channel)).size === 1, 'a try of several channels')
    const isAlone = entries.length === 1
    this.check(isAlone || !entries.some(({ isSuspect }) => isSuspect), 'a suspect goes with others')
  }

  /** Checks that a plan with nothing to do has something under way, or a time to wait for. */
  #assertAwake(): void {
    if (this.open.size === 0 || this.underWay.length > 0) return
    this.check((this.#untilMs ?? 0) > this.nowMs, 'nothing to do, and nothing to wait for')
  }
}

const step = fc.oneof(
  fc.record({
    do: fc.constant('ask' as const),
    channel: fc.option(fc.constantFrom('a', 'b', 'c'), { nil: undefined }),
    isSuspect: fc.boolean(),
    isOrphan: fc.boolean(),
    times: fc.constantFrom(1, 1, 3, 120),
  }),
  fc.record({
    do: fc.constant('end' as const),
    which: fc.nat(),
    how: fc.constantFrom(
      'answered' as const,
      'heldUp' as const,
      'heldUp' as const,
      'ofOne' as const,
      'ofAll' as const,
    ),
  }),
  fc.record({ do: fc.constant('wait' as const), ms: fc.constantFrom(1, 25, 60, 400) }),
  fc.record({ do: fc.constant('stop' as const), isStopping: fc.boolean() }),
)

type Step = typeof step extends fc.Arbitrary<infer One> ? One : never

function take(play: Play, one: Step): void {
  if (one.do === 'ask')
    for (let n = 0; n < one.times; n++) play.ask(one.channel, one.isSuspect && !one.isOrphan, one.isOrphan)
  else if (one.do === 'end') play.end(one.which, one.how)
  else if (one.do === 'wait') play.wait(one.ms)
  else play.isStopping = one.isStopping
}

const plays = { width: fc.integer({ min: 1, max: 2 }), steps: fc.array(step, { maxLength: 60 }) }

it('keeps to its bounds, loses no settlement and ends none twice, whatever its statements come to', () => {
  fc.assert(
    fc.property(plays.width, plays.steps, (width, steps) => {
      const play = new Play(width)
      for (const one of steps) take(play, one)
      // Free locks mean an answer for each, by one statement for each at most.
      const open = play.open.size
      expect(play.answerAll()).toBeLessThanOrEqual(open)
      expect([play.open.size, play.broken]).toEqual([0, []])
    }),
  )
})

it('reports no settlement as held up before its patience is nearly over', () => {
  fc.assert(
    fc.property(plays.width, plays.steps, (width, steps) => {
      const play = new Play(width)
      const heldMs: number[] = []
      for (const one of steps) {
        const openBefore = [...play.open]
        take(play, one)
        for (const { end, heldSince = play.nowMs } of openBefore)
          if (end === 'heldUp') heldMs.push(play.nowMs - heldSince)
      }
      // A pause is at most as long as all time before it.
      expect(heldMs.filter((ms) => ms < patienceMs / 2 - 25)).toEqual([])
    }),
  )
})

it('puts no settlement into a batch of others whose channel is known to be held', () => {
  fc.assert(
    fc.property(plays.width, plays.steps, fc.integer({ min: 2, max: 5 }), (width, steps, others) => {
      const play = new Play(width)
      for (const one of steps) take(play, one)
      play.isStopping = false
      play.answerAll()
      const isHeld = ({ entries }: SettlementBatch<Entry>): boolean =>
        entries.some(({ channel }) => channel === 'held')
      // Two of a channel are held up, one after the other.
      for (let n = 0; n < 2; n++) {
        play.ask('held', false, false)
        play.end(play.underWay.findIndex(isHeld), 'heldUp')
      }
      while (play.underWay.some(isHeld)) play.end(play.underWay.findIndex(isHeld), 'heldUp')
      for (let n = 0; n < others; n++) play.ask('held', false, false)
      play.ask('free', false, false)
      const free = play.underWay.find(({ entries }) => entries.some(({ channel }) => channel === 'free'))
      expect(free?.entries.map(({ channel }) => channel)).toEqual(['free'])
    }),
  )
})

it('asks for no wait that is over: a pause that ends while its lane has a statement under way', () => {
  const plan = new SettlementPlan<Entry>(2, patienceMs)
  const held: Entry = { name: 'held', channel: 'a', isSuspect: true, isOrphan: true }
  plan.add(held, 0)
  const first = plan.next(0)
  if (first.step !== 'send') throw new Error('nothing was sent')
  plan.failed(first.batch, 'heldUp', new Error('held'), 0)
  const paused = plan.next(0)
  if (paused.step !== 'wait' || paused.untilMs === undefined) throw new Error('there is no pause')
  plan.add({ name: 'other', channel: 'b', isSuspect: false, isOrphan: true }, 0)
  expect(plan.next(0)).toMatchObject({ step: 'send' })
  expect(plan.next(paused.untilMs)).toEqual({ step: 'wait', untilMs: undefined })
})

// Settlements in their statements: which go together, how many are under way, and which wait for which.
import { describe, expect, it } from 'vitest'
import { SettlementQueue, type AskOptions } from '../../../src/transaction/settle/settlement-queue.ts'
import { ManualClock } from '../../support/manual-clock.ts'

interface Sent {
  readonly asked: readonly string[]
  answer(): void
  fail(error: unknown): void
}

const heldUp = new Error('held up')
const refused = new Error('refused')
const lost = new Error('lost')

function createQueue({ width = 2, patienceMs = 1_000 } = {}) {
  const clock = new ManualClock()
  const sent: Sent[] = []
  const queue = new SettlementQueue<string, string>(
    {
      send: (asked) =>
        new Promise((resolve, reject) => {
          sent.push({ asked, answer: () => resolve(asked.map((one) => one.toUpperCase())), fail: reject })
        }),
      // Letters of a name before its number: `m1` and `m2` are of one channel, others of none.
      channelOf: (one) => /^([a-z]+)\d/.exec(one)?.[1],
      failureOf: (error) => (error === heldUp ? 'heldUp' : error === refused ? 'ofOne' : 'ofAll'),
    },
    clock,
    { width, patienceMs },
  )
  /** Endings so far of the settlements that were asked for. */
  const ended = new Map<string, unknown>()
  const ask = (name: string, options: AskOptions = {}): void => {
    const put = (end: unknown): void => void ended.set(name, end)
    queue.ask(name, options).then(put, put)
  }
  /** Lets all continuations run that can. */
  const settled = () => new Promise((resolve) => setImmediate(resolve))
  const asked = () => sent.map((statement) => statement.asked.join(' '))
  return { clock, sent, ended, ask, settled, asked }
}

describe('a queue of settlements', () => {
  it('sends one that comes alone at once, and what comes meanwhile together', async () => {
    const { sent, ended, ask, settled, asked } = createQueue()
    ask('a')
    expect(asked()).toEqual(['a'])
    for (const name of ['b', 'c', 'd']) ask(name)
    expect(asked()).toEqual(['a', 'b'])
    sent[0]?.answer()
    await settled()
    expect(asked()).toEqual(['a', 'b', 'c d'])
    sent[2]?.answer()
    sent[1]?.answer()
    await settled()
    expect(Object.fromEntries(ended)).toEqual({ a: 'A', b: 'B', c: 'C', d: 'D' })
  })

  it('has two statements under way, and a hundred in each, at most', async () => {
    const { sent, ask, settled } = createQueue()
    for (let n = 0; n < 352; n++) ask(`${n}`)
    expect(sent).toHaveLength(2)
    for (let n = 0; n < 6; n++) {
      sent[n]?.answer()
      await settled()
      expect(sent.length - (n + 1)).toBeLessThanOrEqual(2)
    }
    expect(sent.map((statement) => statement.asked.length)).toEqual([1, 1, 100, 100, 100, 50])
  })

  it('tries those of a batch that is held up alone, one after the other, and others go beside them', async () => {
    const { sent, ended, ask, settled, asked } = createQueue()
    for (const name of ['x', 'y', 'a', 'b', 'c']) ask(name)
    sent[0]?.answer()
    await settled()
    expect(asked().at(-1)).toBe('a b c')
    sent[1]?.answer()
    sent[2]?.fail(heldUp)
    await settled()
    // A single statement is under way, although two might be.
    expect(asked().slice(3)).toEqual(['a'])
    ask('new')
    expect(asked().slice(3)).toEqual(['a', 'new'])
    sent[3]?.answer()
    await settled()
    sent[5]?.answer()
    await settled()
    expect(asked().slice(3)).toEqual(['a', 'new', 'b', 'c'])
    sent[4]?.answer()
    sent[6]?.answer()
    await settled()
    expect([...ended.values()]).toEqual(['X', 'Y', 'A', 'B', 'NEW', 'C'])
  })

  it('tries one that is held up again, with longer and longer pauses, and reports it after its patience', async () => {
    const { clock, sent, ended, ask, settled, asked } = createQueue({ patienceMs: 200 })
    ask('stuck')
    for (const pauseMs of [25, 50, 100]) {
      sent.at(-1)?.fail(heldUp)
      await settled()
      clock.advance(pauseMs - 1)
      const before = sent.length
      clock.advance(1)
      expect(sent).toHaveLength(before + 1)
    }
    expect(ended.size).toBe(0)
    ask('other')
    expect(asked().at(-1)).toBe('other')
    sent.at(-2)?.fail(heldUp)
    await settled()
    expect(ended.get('stuck')).toBe(heldUp)
  })

  it('reports to all of a batch when the error is of none of them alone', async () => {
    const { sent, ended, ask, settled, asked } = createQueue()
    for (const name of ['x', 'y', 'a', 'b']) ask(name)
    sent[0]?.answer()
    await settled()
    sent[2]?.fail(lost)
    await settled()
    expect([ended.get('a'), ended.get('b')]).toEqual([lost, lost])
    expect(asked()).toEqual(['x', 'y', 'a b'])
  })

  it('reports one that the database refuses alone, and answers the others', async () => {
    const { sent, ended, ask, settled } = createQueue()
    for (const name of ['x', 'y', 'a', 'b']) ask(name)
    sent[0]?.answer()
    await settled()
    sent[2]?.fail(refused)
    await settled()
    sent[3]?.fail(refused)
    await settled()
    sent[4]?.answer()
    await settled()
    expect([ended.get('a'), ended.get('b')]).toEqual([refused, 'B'])
  })

  it('takes those that were held up before alone, and in turn with the others where there is one statement', async () => {
    const { sent, ended, ask, settled, asked } = createQueue({ width: 1 })
    ask('a')
    for (const name of ['s', 't']) ask(name, { isSuspect: true })
    for (const name of ['b', 'c']) ask(name)
    for (let n = 0; n < 4; n++) {
      expect(sent).toHaveLength(n + 1)
      sent[n]?.answer()
      await settled()
    }
    expect(asked()).toEqual(['a', 's', 'b c', 't'])
    expect(ended.size).toBe(5)
  })

  it('tries a batch that was held up by its channels: one whose head is held costs the others one wait', async () => {
    const { sent, ended, ask, settled, asked } = createQueue()
    for (const name of ['x', 'y', 'm1', 'm2', 'm3', 'v1', 'v2']) ask(name)
    sent[0]?.answer()
    await settled()
    sent[2]?.fail(heldUp)
    await settled()
    expect(asked().slice(3)).toEqual(['m1 m2 m3'])
    sent[3]?.fail(heldUp)
    await settled()
    expect(asked().slice(4)).toEqual(['v1 v2'])
    sent[4]?.answer()
    await settled()
    expect([ended.get('v1'), ended.get('v2')]).toEqual(['V1', 'V2'])
  })

  it('tries one at a time of a channel whose head is held, keeps later ones of it apart, and goes on when it is free', async () => {
    const { clock, sent, ask, settled, asked } = createQueue()
    for (const name of ['x', 'y', 'm1', 'm2', 'm3', 'm4']) ask(name)
    sent[0]?.answer()
    sent[1]?.answer()
    await settled()
    sent[2]?.fail(heldUp)
    await settled()
    sent[3]?.fail(heldUp)
    await settled()
    sent[4]?.fail(heldUp)
    await settled()
    expect(asked().slice(3)).toEqual(['m1', 'm2'])
    for (const name of ['m5', 'a']) ask(name)
    expect(asked().slice(5)).toEqual(['a'])
    clock.advance(25)
    expect(asked().slice(6)).toEqual(['m3'])
    sent[6]?.answer()
    await settled()
    expect(asked().slice(7)).toEqual(['m4 m5'])
    sent[7]?.answer()
    await settled()
    expect(asked().slice(8)).toEqual(['m1'])
  })

  it('reports those behind a head that stays held after their patience, and others are settled within a second', async () => {
    const { clock, sent, ended, ask, settled } = createQueue()
    for (const name of ['x', 'y']) ask(name)
    for (let n = 0; n < 99; n++) ask(`m${n}`)
    ask('victim')
    let done = 0
    let victimAt: number | undefined
    for (let ms = 0; ms < 5_000; ms += 25) {
      for (; done < sent.length; done++) {
        const one = sent[done]
        const isStuck = one?.asked.some((name) => name.startsWith('m'))
        clock.after(isStuck ? 250 : 1, () => (isStuck ? one?.fail(heldUp) : one?.answer()))
      }
      clock.advance(25)
      await settled()
      if (ended.get('victim') === 'VICTIM') victimAt ??= clock.monotonic()
    }
    expect(victimAt).toBeLessThan(1_000)
    expect(ended.get('m0')).toBe(heldUp)
    expect(ended.get('m98')).toBe(heldUp)
    expect(sent.length).toBeLessThan(15)
    expect(clock.timerCount).toBe(0)
  })

  it('lets orphans have one statement at a time, and one of four while somebody waits for others', async () => {
    const { sent, ask, settled } = createQueue()
    for (const name of ['o1', 'o2', 'p1', 'p2']) ask(name, { isOrphan: true })
    expect(sent.map((statement) => statement.asked.join(' '))).toEqual(['o1'])
    for (let n = 0; n < 450; n++) ask(`${n}`)
    sent[0]?.answer()
    for (let n = 1; n < 7; n++) {
      await settled()
      sent[n]?.answer()
    }
    await settled()
    const kinds = sent.map(({ asked }) => (/[op]/.test(asked[0] ?? '') ? 'orphans' : 'live'))
    expect(kinds).toEqual(['orphans', 'live', 'live', 'live', 'orphans', 'live', 'live', 'live'])
  })

  it('tries no orphan again once its round is to stop', async () => {
    let isStopping = false
    const { sent, ended, ask, settled } = createQueue()
    for (const name of ['o1', 'p1', 'q1']) ask(name, { isOrphan: true, isStopping: () => isStopping })
    sent[0]?.answer()
    await settled()
    isStopping = true
    sent[1]?.fail(heldUp)
    await settled()
    expect(sent).toHaveLength(2)
    expect([ended.get('p1'), ended.get('q1')]).toEqual([heldUp, heldUp])
  })
})

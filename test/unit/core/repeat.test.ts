import { expect, test } from 'vitest'
import { Repeat, type RepeatOptions } from '../../../src/core/index.ts'
import { ManualClock } from '../../support/manual-clock.ts'

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

function createRepeat(work: RepeatOptions['work'], options: Partial<RepeatOptions> = {}) {
  const clock = new ManualClock()
  const errors: unknown[] = []
  const repeat = new Repeat({
    clock,
    everyMs: 100,
    work,
    onError: (error) => errors.push(error),
    ...options,
  })
  const pass = async (ms: number): Promise<void> => {
    clock.advance(ms)
    await turn()
  }
  return { clock, errors, repeat, pass }
}

test('a run begins everyMs after the one before has ended, and never beside it', async () => {
  const ends: (() => void)[] = []
  const { repeat, pass } = createRepeat(() => new Promise<void>((resolve) => ends.push(resolve)))
  repeat.start()
  await pass(99)
  expect(ends).toHaveLength(0)
  await pass(1)
  expect(ends).toHaveLength(1)
  await pass(1_000)
  expect(ends).toHaveLength(1)
  ends[0]?.()
  await turn()
  await pass(99)
  expect(ends).toHaveLength(1)
  await pass(1)
  expect(ends).toHaveLength(2)
})

test('what a run throws is heard, whether it waited or not, and the runs go on', async () => {
  let runs = 0
  const { repeat, errors, pass } = createRepeat(() => {
    runs += 1
    if (runs === 1) throw new Error('at once')
    return Promise.reject(new Error('later'))
  })
  repeat.start(0)
  await pass(0)
  await pass(100)
  await pass(100)
  expect(runs).toBe(3)
  expect(errors).toEqual([new Error('at once'), new Error('later'), new Error('later')])
})

test('false ends the runs until start is called, also when it was called during the last one', async () => {
  let runs = 0
  let isAskedFor = true
  const { repeat, clock, pass } = createRepeat(() => {
    runs += 1
    if (isAskedFor) repeat.start()
    isAskedFor = false
    return false
  })
  repeat.start()
  await pass(100)
  await pass(100)
  expect(runs).toBe(2)
  expect(clock.timerCount).toBe(0)
  repeat.start()
  repeat.start()
  expect(clock.timerCount).toBe(1)
  await pass(100)
  expect(runs).toBe(3)
})

test('after stop no run begins, neither a due one nor another one', async () => {
  let runs = 0
  const { repeat, clock, pass } = createRepeat(() => void (runs += 1))
  repeat.start()
  await pass(100)
  repeat.stop()
  repeat.start(0)
  await pass(1_000)
  expect({ runs, timers: clock.timerCount, isStopped: repeat.isStopped }).toEqual({
    runs: 1,
    timers: 0,
    isStopped: true,
  })
})

test('close waits for the run under way, and for one that never ends only so long', async () => {
  let end = (): void => {}
  const work = (): Promise<void> => new Promise((resolve) => (end = resolve))
  const { repeat, clock, pass } = createRepeat(work, { closeWithinMs: 500 })
  repeat.start(0)
  await pass(0)
  let isClosed = false
  const closed = repeat.close().then(() => (isClosed = true))
  await turn()
  expect(isClosed).toBe(false)
  end()
  await closed
  expect(clock.timerCount).toBe(0)

  const stuck = createRepeat(() => new Promise<void>(() => {}), { closeWithinMs: 500 })
  stuck.repeat.start(0)
  await stuck.pass(0)
  let isGivenUp = false
  const givenUp = stuck.repeat.close().then(() => (isGivenUp = true))
  await stuck.pass(499)
  expect(isGivenUp).toBe(false)
  await stuck.pass(1)
  await givenUp
})

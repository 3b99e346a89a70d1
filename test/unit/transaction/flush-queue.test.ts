import { expect, test } from 'vitest'
import { FlushQueue } from '../../../src/transaction/operation/flush-queue.ts'
import { ManualClock } from '../../support/manual-clock.ts'

function createQueue() {
  const clock = new ManualClock()
  const queue = new FlushQueue(clock)
  const began: string[] = []
  const enter = async (name: string, channel = 'room:1'): Promise<void> => {
    await queue.enter(channel)
    began.push(name)
  }
  /** Lets the continuations of resolved promises run. */
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
  return { clock, queue, began, enter, turn }
}

test('two of a channel go at once, the others as those end, in their order', async () => {
  const { queue, began, enter, turn } = createQueue()
  for (const name of ['a', 'b', 'c', 'd']) void enter(name)
  await turn()
  expect(began).toEqual(['a', 'b'])
  queue.leave('room:1')
  await turn()
  expect(began).toEqual(['a', 'b', 'c'])
  for (let left = 0; left < 3; left += 1) queue.leave('room:1')
  await turn()
  expect(began).toEqual(['a', 'b', 'c', 'd'])
})

test('channels do not wait for each other', async () => {
  const { began, enter, turn } = createQueue()
  for (const name of ['a', 'b', 'c']) void enter(name)
  void enter('other', 'room:2')
  await turn()
  expect(began).toEqual(['a', 'b', 'other'])
})

test('nobody waits for more than 250 ms, and the queue is as it was afterwards', async () => {
  const { clock, queue, began, enter, turn } = createQueue()
  for (const name of ['a', 'b', 'c']) void enter(name)
  clock.advance(249)
  await turn()
  expect(began).toEqual(['a', 'b'])
  clock.advance(1)
  await turn()
  expect(began).toEqual(['a', 'b', 'c'])
  // Three flushes are under way: the next waits until fewer than two are.
  void enter('d')
  queue.leave('room:1')
  await turn()
  expect(began).toEqual(['a', 'b', 'c'])
  queue.leave('room:1')
  await turn()
  expect(began).toEqual(['a', 'b', 'c', 'd'])
})

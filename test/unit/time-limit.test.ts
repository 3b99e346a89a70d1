import { setTimeout as elapsed } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { TimeLimit } from '../../src/postgres/time-limit.ts'

it('ends what runs longer, each in its time, and nothing that was done before', async () => {
  const limit = new TimeLimit(60)
  const began = performance.now()
  const ended: [string, number][] = []
  const end = (name: string) => () => void ended.push([name, performance.now() - began])
  limit.start(end('first'))
  const done = limit.start(end('done'))
  await elapsed(40)
  limit.start(end('second'))
  done.leave()
  await expect.poll(() => ended.map(([name]) => name)).toEqual(['first', 'second'])
  const [[, first], [, second]] = ended as [[string, number], [string, number]]
  expect(first).toBeGreaterThanOrEqual(59)
  expect(second).toBeGreaterThanOrEqual(99)
  limit.start(end('third'))
  await expect.poll(() => ended.length).toBe(3)
})

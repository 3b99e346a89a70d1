import { expect, it } from 'vitest'
import { TimeLimit } from '../../../src/core/index.ts'

it('ends what runs longer, each in its time, and nothing that was done before', async () => {
  const limit = new TimeLimit(60)
  const ended: { name: string; at: number }[] = []
  const end = (name: string) => () => void ended.push({ name, at: performance.now() })
  const began = performance.now()
  limit.start(() => {
    end('first')()
    limit.start(end('third'))
  })
  const done = limit.start(end('done'))
  limit.start(end('second'))
  done.leave()
  await expect.poll(() => ended.map(({ name }) => name)).toEqual(['first', 'second', 'third'])
  const [first, , third] = ended.map(({ at }) => at - began)
  expect(first).toBeGreaterThanOrEqual(59)
  expect(third).toBeGreaterThanOrEqual(119)
})

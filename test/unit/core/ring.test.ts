import { describe, expect, it } from 'vitest'
import { Ring } from '../../../src/core/index.ts'

const all = (ring: Ring<number>): readonly number[] => {
  const found: number[] = []
  for (let { first } = ring; first !== undefined; { first } = ring) {
    found.push(first.value)
    first.leave()
  }
  return found
}

describe('a ring', () => {
  it('gives back what was added, in its order', () => {
    const ring = new Ring<number>()
    for (const value of [1, 2, 3]) ring.add(value)
    expect(all(ring)).toEqual([1, 2, 3])
    expect(ring.first).toBe(undefined)
  })

  it.each([
    [0, [2, 3]],
    [1, [1, 3]],
    [2, [1, 2]],
  ])('loses the entry at place %i, and no other', (place, left) => {
    const ring = new Ring<number>()
    const entries = [1, 2, 3].map((value) => ring.add(value))
    entries[place]?.leave()
    expect(all(ring)).toEqual(left)
  })

  it('takes an entry that leaves twice for gone', () => {
    const ring = new Ring<number>()
    const [first] = [1, 2].map((value) => ring.add(value))
    first?.leave()
    ring.add(3)
    first?.leave()
    expect(all(ring)).toEqual([2, 3])
  })
})

/** Random numbers from a seed (mulberry32), so that a run's choices can be repeated. */
export interface Random {
  /** Number in [0, 1). */
  next(): number
  /** Whole number in [from, to]. */
  between(from: number, to: number): number
  chance(probability: number): boolean
  pick<T>(items: readonly T[]): T
  /** Makes a separate stream of numbers, so that an actor's choices do not depend on how often another one asks. */
  fork(name: string): Random
}

export function seeded(seed: number): Random {
  let state = seed >>> 0
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const between = (from: number, to: number): number => from + Math.floor(next() * (to - from + 1))
  return {
    next,
    between,
    chance: (probability) => next() < probability,
    pick: (items) => {
      const item = items[between(0, items.length - 1)]
      if (item === undefined) throw new Error('nothing to pick from')
      return item
    },
    fork: (name) => {
      let hash = seed
      for (const letter of name) hash = Math.imul(hash ^ letter.charCodeAt(0), 0x01000193)
      return seeded(hash)
    },
  }
}

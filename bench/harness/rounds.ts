/** Results of each variant, one for each round. */
export type Rounds<Variant extends string, Result> = Readonly<Record<Variant, readonly Result[]>>

/**
 * Runs the variants A B C, then C B A, then the same from the next one on, and so on: what drifts on the machine meets all
 * of them alike, and none always follows the same one or stands at the same place.
 */
export async function interleave<const Variant extends string, Result>(
  variants: readonly Variant[],
  rounds: number,
  run: (variant: Variant, round: number) => Promise<Result>,
): Promise<Rounds<Variant, Result>> {
  const found = Object.fromEntries(variants.map((variant) => [variant, [] as Result[]])) as unknown as Record<
    Variant,
    Result[]
  >
  for (let round = 0; round < rounds; round += 1) {
    for (const variant of orderOf(variants, round)) found[variant].push(await run(variant, round))
  }
  return found
}

function orderOf<Variant>(variants: readonly Variant[], round: number): readonly Variant[] {
  const first = Math.floor(round / 2) % variants.length
  const order = [...variants.slice(first), ...variants.slice(0, first)]
  return round % 2 === 0 ? order : order.toReversed()
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = (sorted.length - 1) / 2
  return ((sorted[Math.floor(middle)] ?? Number.NaN) + (sorted[Math.ceil(middle)] ?? Number.NaN)) / 2
}

export function medianOf<Result>(results: readonly Result[], of: (result: Result) => number): number {
  return median(results.map(of))
}

export interface Ratio {
  readonly median: number
  readonly lowest: number
  readonly highest: number
}

/** Ratios of `a` to `b`, round by round: both of a round met the same machine. */
export function ratiosOf<Result>(
  a: readonly Result[],
  b: readonly Result[],
  of: (result: Result) => number,
): readonly number[] {
  return a.flatMap((result, round) => {
    const other = b[round]
    return other === undefined ? [] : [of(result) / of(other)]
  })
}

/** The same, in short. */
export function ratioOf<Result>(
  a: readonly Result[],
  b: readonly Result[],
  of: (result: Result) => number,
): Ratio {
  const ratios = ratiosOf(a, b, of)
  return { median: median(ratios), lowest: Math.min(...ratios), highest: Math.max(...ratios) }
}

export interface Interval {
  readonly low: number
  readonly high: number
}

const resamples = 2_000

/**
 * Interval of the median with a confidence of 95 %, by the bootstrap: of the groups as many as there are are
 * drawn with replacement, then of the values of each. So what all values of a group have in common, such as how the
 * memory of their processes fell out, counts as chance, too. The same values give the same answer.
 * @see Efron and Tibshirani, An Introduction to the Bootstrap, 13.3
 */
export function intervalOf(groups: readonly (readonly number[])[]): Interval {
  const random = seeded(1)
  const drawn = <Item>(items: readonly Item[]): Item[] =>
    items.map(() => items[Math.floor(random() * items.length)] as Item)
  const medians = Array.from({ length: resamples }, () =>
    median(drawn(groups).flatMap((group) => drawn(group))),
  ).toSorted((a, b) => a - b)
  const at = (share: number): number => medians[Math.round(share * (resamples - 1))] ?? Number.NaN
  return { low: at(0.025), high: at(0.975) }
}

/** Mulberry32: from 0 to below 1. */
function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

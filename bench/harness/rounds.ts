/** By variant, one result for each round. */
export type Rounds<Variant extends string, Result> = Readonly<Record<Variant, readonly Result[]>>

/**
 * Runs the variants A B C, then C B A, and so on: what drifts on the machine meets all of them alike, and none
 * always follows the same one.
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
    const order = round % 2 === 0 ? variants : variants.toReversed()
    for (const variant of order) found[variant].push(await run(variant, round))
  }
  return found
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

/** Of `a` to `b`, round by round: both of a round met the same machine. */
export function ratioOf<Result>(
  a: readonly Result[],
  b: readonly Result[],
  of: (result: Result) => number,
): Ratio {
  const ratios = a.flatMap((result, round) => {
    const other = b[round]
    return other === undefined ? [] : [of(result) / of(other)]
  })
  return { median: median(ratios), lowest: Math.min(...ratios), highest: Math.max(...ratios) }
}

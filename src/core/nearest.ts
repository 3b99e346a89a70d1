/** The name that was most likely meant, or undefined where none is near. */
export function nearestName(given: string, names: Iterable<string>): string | undefined {
  if (given.length > longestCompared) return undefined
  let nearest: string | undefined
  // A third of the letters may be wrong; a name that was shortened may lack more.
  let least = Math.max(1, Math.floor(given.length / 3)) + 1
  for (const name of names) {
    const distance = distanceOf(given.toLowerCase(), name.toLowerCase())
    if (distance >= least) continue
    least = distance
    nearest = name
  }
  return nearest
}

/** `Did you mean "sent"?` with a blank before it, or nothing. */
export function suggestion(given: string, names: Iterable<string>, prefix = ''): string {
  const nearest = nearestName(given, names)
  return nearest === undefined ? '' : ` Did you mean "${prefix}${nearest}"?`
}

/** Names in quotes: all of them up to eight, else the first eight and how many more there are. */
export function listNames(names: readonly string[], prefix = ''): string {
  const shown = names.slice(0, mostListed).map((name) => `"${prefix}${name}"`)
  const more = names.length - shown.length
  return `${shown.join(', ')}${more > 0 ? ` and ${more} more` : ''}`
}

const mostListed = 8
const longestCompared = 100

/** Letters to insert, remove, replace or swap with their neighbour: optimal string alignment. */
function distanceOf(one: string, other: string): number {
  let beforeLast: number[] = []
  let last = Array.from({ length: other.length + 1 }, (_, index) => index)
  for (let i = 1; i <= one.length; i++) {
    const row = [i]
    for (let j = 1; j <= other.length; j++) {
      const isSame = one[i - 1] === other[j - 1]
      let least = Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (last[j - 1] ?? 0) + (isSame ? 0 : 1))
      const isSwap = i > 1 && j > 1 && one[i - 1] === other[j - 2] && one[i - 2] === other[j - 1]
      if (isSwap) least = Math.min(least, (beforeLast[j - 2] ?? 0) + 1)
      row.push(least)
    }
    beforeLast = last
    last = row
  }
  return last[other.length] ?? 0
}

import { encodedTokens, plainTokens, tokensOf, type ChannelPattern } from './channel-pattern.ts'

/**
 * Names that two patterns of channels have in common. What a pattern matches is a small automaton over tokens, so this is
 * decided when patterns are declared, and not by the order in which they stand.
 */

/** A name that both patterns have, one of the shortest, or undefined where there is none. */
export function commonName(one: ChannelPattern, other: ChannelPattern): string | undefined {
  return firstCommon(automatonOf(one), automatonOf(other))
}

/** A name of the pattern that begins with the text, or undefined where there is none. */
export function nameBehind(prefix: string, pattern: ChannelPattern): string | undefined {
  const anything = { only: undefined, any: new Set([...plainTokens, ...encodedTokens, ':']) }
  const begun = prefix.split('').map((only): Step => ({ only, any: undefined }))
  return firstCommon([...begun, anything], automatonOf(pattern))
}

/** Step of a pattern's automaton: one token that must come, or one or more tokens of a set. */
interface Step {
  readonly only: string | undefined
  readonly any: ReadonlySet<string> | undefined
}

function automatonOf({ literals, params }: ChannelPattern): readonly Step[] {
  const literal = (text: string): Step[] => text.split('').map((only) => ({ only, any: undefined }))
  return [
    ...literal(literals[0] ?? ''),
    ...params.flatMap(({ stop }, index) => [
      { only: undefined, any: tokensOf(stop) },
      ...literal(literals[index + 1] ?? ''),
    ]),
  ]
}

/** Position of an automaton: before a step, or within one that may take more. */
interface Place {
  readonly at: number
  readonly within: boolean
}

function after(steps: readonly Step[], { at, within }: Place, token: string): readonly Place[] {
  const places: Place[] = []
  const step = steps[at]
  if (within && steps[at - 1]?.any?.has(token) === true) places.push({ at, within: true })
  if (step?.only === token) places.push({ at: at + 1, within: false })
  if (step?.any?.has(token) === true) places.push({ at: at + 1, within: true })
  return places
}

/** A search in breadth over the pairs of places that one name can lead both automata to. */
function firstCommon(one: readonly Step[], other: readonly Step[]): string | undefined {
  const alphabet = new Set(plainTokens)
  for (const { only, any } of [...one, ...other]) for (const token of any ?? [only ?? '']) alphabet.add(token)
  let ends: { readonly a: Place; readonly b: Place; readonly name: string }[] = [
    { a: { at: 0, within: false }, b: { at: 0, within: false }, name: '' },
  ]
  const seen = new Set<string>()
  while (ends.length > 0) {
    const next: typeof ends = []
    for (const { a, b, name } of ends) {
      if (a.at === one.length && b.at === other.length && name !== '') return name
      for (const token of alphabet) {
        // No name holds two dots in a row.
        if (token === '.' && name.endsWith('.')) continue
        for (const nextA of after(one, a, token)) {
          for (const nextB of after(other, b, token)) {
            const key = `${nextA.at}${nextA.within}/${nextB.at}${nextB.within}/${token === '.'}`
            if (seen.has(key)) continue
            seen.add(key)
            next.push({ a: nextA, b: nextB, name: name + token })
          }
        }
      }
    }
    ends = next
  }
  return undefined
}

import { LockstepError } from './errors.ts'
import { describeGiven } from './given.ts'

/**
 * Patterns of channel names, such as `doc:{tenant}.{id}`. A name is read as tokens: a plain character, or one that is
 * percent-encoded.
 */

/** Characters of a parameter that stand in names as they are. */
const plainCharacters = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._~@|=+-/'.split('')
/** Characters of a parameter that are always encoded: they divide names, or begin what is encoded. */
const encodedCharacters = ':#%'.split('')

export const paramCharacters = 'letters, digits and . _ ~ @ | = + - : / # %'
const paramValue = /^[A-Za-z0-9._~@|=+:/#%-]+$/
const literalText = /^[A-Za-z0-9._~@|=+:/-]*$/

interface Param {
  readonly key: string
  /**
   * Encoded in this parameter, beside the characters that always are: what the literal behind it begins with, if
   * another parameter follows. The first such character in a name therefore ends the parameter.
   */
  readonly stop: string
}

export interface ChannelPattern {
  readonly text: string
  readonly params: readonly Param[]
  /** Texts before, between and after the parameters: one more than there are parameters. */
  readonly literals: readonly string[]
  readonly matcher: RegExp
}

/** @throws LS_CONFIG_INVALID for a pattern that is malformed, or whose names could be cut in two ways */
export function parsePattern(text: string): ChannelPattern {
  const pieces = typeof text === 'string' ? text.split(/\{([A-Za-z][A-Za-z0-9]*)\}/) : []
  const literals = pieces.filter((_, index) => index % 2 === 0)
  const keys = pieces.filter((_, index) => index % 2 === 1)
  // A first parameter would let a client choose the family.
  const isWellFormed =
    literals[0] !== '' &&
    literals.every((literal) => literalText.test(literal) && !literal.includes('..')) &&
    new Set(keys).size === keys.length
  if (text === '' || pieces.length === 0 || !isWellFormed) {
    const given = typeof text === 'string' ? `"${text}"` : describeGiven(text)
    throw invalid(`${given} is not a channel pattern. Use a form like "conversation:{id}", each name once.`)
  }
  const params = keys.map((key, index): Param => {
    const isLast = index === keys.length - 1
    const next = literals[index + 1] ?? ''
    if (!isLast && next === '') {
      throw invalid(
        `In the channel pattern "${text}" {${key}} and {${keys[index + 1]}} stand side by side, so that a name could be cut in two ways. Put a character between them, such as {${key}}:{${keys[index + 1]}}.`,
      )
    }
    return { key, stop: isLast ? '' : next.slice(0, 1) }
  })
  return { text, params, literals, matcher: toMatcher(literals, params) }
}

/** The name of one channel. @throws LS_CHANNEL_NAME_INVALID for a parameter that no name can hold */
export function fillPattern(pattern: ChannelPattern, values: Readonly<Record<string, unknown>>): string {
  const { params, literals, text } = pattern
  let name = literals[0] ?? ''
  for (const [index, { key, stop }] of params.entries()) {
    const value = Object(values)[key] as unknown
    if (typeof value !== 'string' || !paramValue.test(value)) {
      const given = typeof value === 'string' ? JSON.stringify(value) : typeof value
      const write =
        typeof values === 'object' && values !== null ? '' : ` Write ${callOf(pattern, { [key]: values })}.`
      throw new LockstepError('LS_CHANNEL_NAME_INVALID', {
        message: `The parameter "${key}" of channel "${text}" must be a text of ${paramCharacters}, and is ${given}.${write}`,
        details: { pattern: text, key },
      })
    }
    name += encode(value, stop) + literals[index + 1]
  }
  return name
}

/** How one channel is written in code, as far as its parameters are known: `conversation({ id: "42" })`. */
export function callOf(
  { literals, params }: ChannelPattern,
  values: Readonly<Record<string, unknown>>,
): string {
  const name = /^[A-Za-z]\w*/.exec(literals[0] ?? '')?.[0] ?? 'channel'
  const given = params.map(({ key }) => {
    const value = values[key]
    return `${key}: ${typeof value === 'string' ? JSON.stringify(value) : '…'}`
  })
  return `${name}({${given.length === 0 ? '' : ` ${given.join(', ')} `}})`
}

/** The parameters of a name, or undefined where the pattern has no such name. */
export function readPattern(
  { matcher, params }: ChannelPattern,
  name: string,
): Readonly<Record<string, string>> | undefined {
  const found = matcher.exec(name)
  if (found === null) return undefined
  return Object.freeze(
    Object.fromEntries(params.map(({ key }, index) => [key, decode(found[index + 1] ?? '')])),
  )
}

function encode(value: string, stop: string): string {
  let text = ''
  for (const character of value) {
    text += character === stop || encodedCharacters.includes(character) ? encoded(character) : character
  }
  return text
}

function encoded(character: string): string {
  return `%${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`
}

function decode(text: string): string {
  if (!text.includes('%')) return text
  return text.replace(/%([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
}

// Matches one spelling of each parameter only: no channel has two names.
function toMatcher(literals: readonly string[], params: readonly Param[]): RegExp {
  const source = params.map(({ stop }, index) => {
    const tokens = [...tokensOf(stop)].map(escapeForRegExp).join('|')
    return `((?:${tokens})+)${escapeForRegExp(literals[index + 1] ?? '')}`
  })
  return new RegExp(`^${escapeForRegExp(literals[0] ?? '')}${source.join('')}$`)
}

function escapeForRegExp(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\/-]/g, String.raw`\$&`)
}

export const plainTokens: readonly string[] = plainCharacters
export const encodedTokens: readonly string[] = encodedCharacters.map(encoded)

/** Tokens that a parameter's value may consist of within a name. */
export function tokensOf(stop: string): ReadonlySet<string> {
  const tokens = new Set([...plainTokens, ...encodedTokens])
  if (stop !== '') {
    tokens.delete(stop)
    tokens.add(encoded(stop))
  }
  return tokens
}

function invalid(message: string): LockstepError {
  return new LockstepError('LS_CONFIG_INVALID', { message })
}

import { isChannelName } from './channel-name.ts'
import { callOf, readPattern, type ChannelPattern } from './channel-pattern.ts'

/** Patterns declared in this process: what an error advises for a name in the place of a channel, and nothing else. */
const declared: ChannelPattern[] = []
const mostRemembered = 100

export function rememberPattern(pattern: ChannelPattern): void {
  if (declared.length < mostRemembered) declared.push(pattern)
}

/** How the channel of a name is written in code, as far as a declared pattern has the name. */
export function callOfName(name: string): string | undefined {
  if (!isChannelName(name)) return undefined
  for (const pattern of declared) {
    const params = readPattern(pattern, name)
    if (params !== undefined) return callOf(pattern, params)
  }
  return undefined
}

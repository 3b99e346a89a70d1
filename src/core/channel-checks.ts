import type { AnyFamily, Channel } from './channel.ts'
import { callOf, parsePattern } from './channel-pattern.ts'
import { LockstepError } from './errors.ts'
import { describeGiven } from './given.ts'
import { callOfName } from './known-patterns.ts'
import { listNames, suggestion } from './nearest.ts'
import { validateSync } from './schema.ts'
import { peek } from './thrown.ts'

/**
 * Refuses what is no channel: its name, or the family that it belongs to.
 * @param entry begins the text of the error, such as `tx.emit`
 * @throws LS_CHANNEL_INVALID
 */
export function assertChannel(value: unknown, entry: string): asserts value is Channel {
  if (typeof value === 'object' && value !== null && peek(peek(value, 'definition'), 'kind') === 'channel')
    return
  throw new LockstepError('LS_CHANNEL_INVALID', {
    message: `${entry} needs a channel, and got ${isFamily(value) ? `the family "${value.pattern}"` : describeGiven(value)}. Write ${channelFor(value)}.`,
  })
}

/** Whether a value is a family of channels, as `lockstep.channel` returns it. */
export function isFamily(value: unknown): value is AnyFamily {
  return (
    typeof value === 'function' &&
    peek(value, 'kind') === 'channel' &&
    typeof peek(value, 'match') === 'function'
  )
}

function channelFor(value: unknown): string {
  if (isFamily(value)) return callOf(parsePattern(value.pattern), {})
  const call = typeof value === 'string' ? callOfName(value) : undefined
  return call ?? 'one that a family of lockstep.channel gives, such as conversation({ id: "42" })'
}

/**
 * The event's data as its schema gives it back.
 * @throws LS_EVENT_UNKNOWN, LS_EVENT_INVALID
 */
export function validateEvent(channel: Channel, type: string, data: unknown): unknown {
  const { events, pattern } = channel.definition
  const schema = Object.hasOwn(events, type) ? events[type] : undefined
  if (schema === undefined) throw unknownEvent(pattern, Object.keys(events), type)
  return validateSync(schema, data, 'LS_EVENT_INVALID', `event "${type}" on ${channel.name}`)
}

function unknownEvent(pattern: string, names: readonly string[], type: unknown): LockstepError {
  const isText = typeof type === 'string'
  const given = isText ? `"${type}"` : `of the type ${describeGiven(type)}`
  return new LockstepError('LS_EVENT_UNKNOWN', {
    message: `Channel ${pattern} declares no event ${given}. Add it to its events.${isText ? suggestion(type, names) : ''} It declares: ${listNames(names)}.`,
  })
}

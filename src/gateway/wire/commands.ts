import { commandNames, type CommandName, type RecoveryRequest } from '../../protocol/index.ts'
import { asObject, boundedJson, InputBeyondBounds, MalformedMessage, own, parseJson } from './json.ts'

/** A command of a client, in a fresh object that holds only fields of the protocol. */
export type ClientCommand =
  | { readonly kind: 'pong' }
  | { readonly kind: 'send'; readonly data: unknown }
  | { readonly kind: 'connect'; readonly id: number; readonly request: ConnectCommand }
  | { readonly kind: 'subscribe'; readonly id: number; readonly request: SubscribeCommand }
  | { readonly kind: 'unsubscribe'; readonly id: number; readonly channel: string }
  | { readonly kind: 'rpc'; readonly id: number; readonly method: string; readonly data: unknown }
  | { readonly kind: 'refresh'; readonly id: number; readonly token: string }
  | { readonly kind: 'ping' | 'publish' | 'unavailable' | 'unknown' | 'empty'; readonly id: number }
  | InvalidCommand

/** A command that can be answered, and not be carried out. */
export interface InvalidCommand {
  readonly kind: 'invalid'
  readonly id: number
  readonly reason: string
  /** The command follows the protocol; its content is beyond a bound. */
  readonly isBeyondBounds: boolean
}

export interface ConnectCommand {
  readonly token: string
  readonly subs: ReadonlyMap<string, RecoveryRequest> | undefined
}

export interface SubscribeCommand extends RecoveryRequest {
  readonly channel: string
  readonly rejectUnrecovered: boolean
}

/** Bit of a subscribe's `flag`: answer error 112 rather than a subscription that could not be recovered. */
const rejectUnrecovered = 2
const maxId = 2 ** 32 - 1

/**
 * Reads one line of a message. What is wrong with a command that has an id refuses that command and nothing else.
 * @throws MalformedMessage for a line that no reply can answer
 */
export function decodeCommand(line: string): ClientCommand {
  const object = asObject(parseJson(line), 'command')
  const keys = Object.keys(object)
  if (keys.length === 0) return { kind: 'pong' }
  const names = keys.filter((key): key is CommandName => (commandNames as readonly string[]).includes(key))
  if (names.length === 1 && names[0] === 'send') return { kind: 'send', data: dataOf(object['send']) }
  const id = own(object, 'id')
  if (typeof id !== 'number' || !Number.isInteger(id) || id < 1 || id > maxId) {
    throw new MalformedMessage('id must be a whole number above zero')
  }
  try {
    return decodeNamed(id, names, object)
  } catch (error) {
    if (!(error instanceof MalformedMessage)) throw error
    return { kind: 'invalid', id, reason: error.message, isBeyondBounds: error instanceof InputBeyondBounds }
  }
}

function decodeNamed(
  id: number,
  names: readonly CommandName[],
  object: Readonly<Record<string, unknown>>,
): ClientCommand {
  const [name] = names
  if (names.length > 1) throw new MalformedMessage('more than one command in an object')
  if (name === undefined) return { kind: Object.keys(object).length === 1 ? 'empty' : 'unknown', id }
  const bounded = asObject(boundedJson(object), 'command')
  return decodeBody(name, id, asObject(bounded[name], name))
}

function decodeBody(name: CommandName, id: number, body: Readonly<Record<string, unknown>>): ClientCommand {
  switch (name) {
    case 'connect':
      return { kind: 'connect', id, request: { token: text(body, 'token') ?? '', subs: subsOf(body) } }
    case 'subscribe':
      return { kind: 'subscribe', id, request: subscribeOf(body) }
    case 'unsubscribe':
      return { kind: 'unsubscribe', id, channel: required(body, 'channel') }
    case 'rpc':
      return { kind: 'rpc', id, method: required(body, 'method'), data: own(body, 'data') }
    case 'refresh':
      // SDKs leave an empty token out.
      return { kind: 'refresh', id, token: text(body, 'token') ?? '' }
    case 'ping':
    case 'publish':
      return { kind: name, id }
    case 'history':
    case 'presence':
    case 'presence_stats':
    case 'sub_refresh':
    case 'send':
    default:
      return { kind: 'unavailable', id }
  }
}

/** Undefined for what cannot be read: a `send` has no reply that could say what is wrong with it. */
function dataOf(body: unknown): unknown {
  try {
    return own(asObject(boundedJson(body), 'send'), 'data')
  } catch (error) {
    if (!(error instanceof MalformedMessage)) throw error
    return undefined
  }
}

function subsOf(body: Readonly<Record<string, unknown>>): ReadonlyMap<string, RecoveryRequest> | undefined {
  const subs = own(body, 'subs')
  if (subs === undefined) return undefined
  return new Map(
    Object.entries(asObject(subs, 'subs')).map(([channel, sub]) => [
      channel,
      recoveryOf(asObject(sub, 'subscription')),
    ]),
  )
}

function subscribeOf(body: Readonly<Record<string, unknown>>): SubscribeCommand {
  const flag = whole(body, 'flag') ?? 0
  return {
    channel: required(body, 'channel'),
    // Divided, not masked: `&` would fold a flag beyond 2^32 onto other bits.
    rejectUnrecovered: Math.floor(flag / rejectUnrecovered) % 2 === 1,
    ...recoveryOf(body),
  }
}

function recoveryOf(body: Readonly<Record<string, unknown>>): RecoveryRequest {
  const recover = own(body, 'recover')
  if (recover !== undefined && typeof recover !== 'boolean')
    throw new MalformedMessage('recover must be a boolean')
  return { recover: recover ?? false, offset: whole(body, 'offset') ?? 0, epoch: text(body, 'epoch') ?? '' }
}

function required(body: Readonly<Record<string, unknown>>, key: string): string {
  const value = text(body, key)
  if (value === undefined) throw new MalformedMessage(`${key} is missing`)
  return value
}

function text(body: Readonly<Record<string, unknown>>, key: string): string | undefined {
  const value = own(body, key)
  if (value !== undefined && typeof value !== 'string') throw new MalformedMessage(`${key} must be a string`)
  return value
}

function whole(body: Readonly<Record<string, unknown>>, key: string): number | undefined {
  const value = own(body, key)
  if (value === undefined) return undefined
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) {
    throw new MalformedMessage(`${key} must be a whole number`)
  }
  return value
}

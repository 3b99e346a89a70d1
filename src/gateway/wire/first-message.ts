import { decodeCommand, type ClientCommand } from './commands.ts'
import { MalformedMessage } from './json.ts'

export type Connect = Extract<ClientCommand, { readonly kind: 'connect' }>

/**
 * Parses nothing but a small first line, for a peer that has not said who it is.
 * @returns the connect and the text behind it; undefined where the line is longer than `maxBytes`
 * @throws MalformedMessage for any other line
 */
export function readFirstMessage(
  message: string,
  maxBytes: number,
): { readonly connect: Connect; readonly rest: string } | undefined {
  const end = message.indexOf('\n')
  const line = end === -1 ? message : message.slice(0, end)
  if (Buffer.byteLength(line) > maxBytes) return undefined
  const connect = decodeCommand(line)
  if (connect.kind === 'invalid') throw new MalformedMessage(connect.reason)
  if (connect.kind !== 'connect') throw new MalformedMessage('connect must come first')
  // A newline may end the connect, too.
  return { connect, rest: end === -1 ? '' : message.slice(end + 1) }
}

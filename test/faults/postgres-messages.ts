// Cuts a stream of the Postgres protocol (manual, chapter "Frontend/Backend Protocol", version 3) into messages.

export interface Message {
  /** Letter of the message's type; empty for the untyped messages at the start of a connection. */
  readonly type: string
  /** The whole message, header included. */
  readonly bytes: Buffer
  readonly body: Buffer
}

const startupVersion = 196_608

export class MessageReader {
  #rest: Buffer = Buffer.alloc(0)
  /** A client's first messages have no type, until the one that names protocol 3.0. */
  #untyped: boolean

  constructor(from: 'client' | 'server') {
    this.#untyped = from === 'client'
  }

  read(bytes: Buffer): readonly Message[] {
    this.#rest = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes])
    const messages: Message[] = []
    for (;;) {
      const header = this.#untyped ? 0 : 1
      if (this.#rest.length < header + 4) return messages
      const end = header + this.#rest.readInt32BE(header)
      if (this.#rest.length < end) return messages
      const message = this.#rest.subarray(0, end)
      this.#rest = this.#rest.subarray(end)
      const body = message.subarray(header + 4)
      messages.push({ type: this.#untyped ? '' : String.fromCharCode(message[0] ?? 0), bytes: message, body })
      if (this.#untyped && body.readInt32BE(0) === startupVersion) this.#untyped = false
    }
  }
}

/** SQL of a Parse message: statement name, then the text. */
export function textOfParse(body: Buffer): string {
  const name = body.indexOf(0)
  return body.toString('utf8', name + 1, body.indexOf(0, name + 1))
}

/** SQL of a Query message. */
export function textOfQuery(body: Buffer): string {
  return body.toString('utf8', 0, body.indexOf(0))
}

/** Name of the prepared statement of a Parse or Bind message; empty for the unnamed one. */
export function statementOf({ type, body }: Pick<Message, 'type' | 'body'>): string {
  // A Bind begins with the portal's name.
  const start = type === 'B' ? body.indexOf(0) + 1 : 0
  return body.toString('utf8', start, body.indexOf(0, start))
}

/** First parameter of a Bind message, as text. */
export function firstParameterOfBind(body: Buffer): string {
  const portal = body.indexOf(0)
  const statement = body.indexOf(0, portal + 1)
  const formats = body.readInt16BE(statement + 1)
  const values = statement + 3 + 2 * formats
  const length = body.readInt32BE(values + 2)
  return body.toString('utf8', values + 6, values + 6 + Math.max(0, length))
}

/** Tag of a CommandComplete message, such as `COMMIT`. */
export function tagOf(body: Buffer): string {
  return body.toString('utf8', 0, body.indexOf(0))
}

/** A second wire format, of the tests alone: fields with their length before them, in the order that both sides know. */
import type { FeedEvent } from '../../src/feeds/index.ts'
import type { EventCodec } from '../../src/gateway/wire/codec.ts'

/** An event as a client of the format reads it. */
export interface DecodedEvent {
  readonly channel: string
  readonly offset: number
  /** Entries right before it that nobody is shown. */
  readonly skipped: number
  readonly operationId: string
  readonly at: number
  readonly type: string
  readonly data: unknown
}

export const binaryCodec: EventCodec<Buffer> = {
  name: 'length-prefixed',
  encode({ channel, offset, skipped, operationId, flushedAt, type, data }: FeedEvent): Buffer {
    const fields = [channel, String(offset), String(skipped), operationId, String(flushedAt), type, data]
    return Buffer.concat(
      fields.flatMap((field) => {
        const length = Buffer.alloc(4)
        length.writeUInt32BE(Buffer.byteLength(field))
        return [length, Buffer.from(field)]
      }),
    )
  },
}

export function decodeBinary(bytes: Buffer): DecodedEvent {
  const fields: string[] = []
  for (let at = 0; at < bytes.length;) {
    const end = at + 4 + bytes.readUInt32BE(at)
    fields.push(bytes.toString('utf8', at + 4, end))
    at = end
  }
  const [channel = '', offset, skipped, operationId = '', at, type = '', data = 'null'] = fields
  return {
    channel,
    offset: Number(offset),
    skipped: Number(skipped),
    operationId,
    at: Number(at),
    type,
    data: JSON.parse(data),
  }
}

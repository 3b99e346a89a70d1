const newline = 10
/** Replies, pings and the like; every counted message is longer or begins with another word. */
const controlStart = /^(?:\{\}|2$|\{"id":|0\{|40)/

/** Counts the messages in what a server sends: several pushes may share one frame, joined by newlines. */
export class FrameCounter {
  #rest: Buffer | undefined

  /** Gives what is no message to `control`. */
  count(data: Buffer, control: (text: string) => void): number {
    const bytes = this.#rest === undefined ? data : Buffer.concat([this.#rest, data])
    this.#rest = undefined
    let messages = 0
    let at = 0
    for (;;) {
      const frame = frameAt(bytes, at)
      if (frame === undefined) {
        if (at < bytes.length) this.#rest = bytes.subarray(at)
        return messages
      }
      at = frame.end
      if (frame.isText) messages += messagesIn(bytes, frame.begin, frame.end, control)
    }
  }
}

function messagesIn(bytes: Buffer, begin: number, end: number, control: (text: string) => void): number {
  if (isControl(bytes, begin, end)) {
    for (const line of bytes.toString('utf8', begin, end).split('\n')) control(line)
    return 0
  }
  let lines = 1
  for (let at = bytes.indexOf(newline, begin); at >= 0 && at < end; at = bytes.indexOf(newline, at + 1)) {
    lines += 1
  }
  return lines
}

const isControl = (bytes: Buffer, begin: number, end: number): boolean =>
  controlStart.test(bytes.toString('latin1', begin, Math.min(end, begin + 6)))

interface Frame {
  readonly isText: boolean
  readonly begin: number
  readonly end: number
}

/** @see RFC 6455, section 5.2; frames of a server are not masked */
function frameAt(bytes: Buffer, at: number): Frame | undefined {
  if (bytes.length < at + 2) return undefined
  const short = (bytes[at + 1] ?? 0) & 0x7f
  const begin = at + (short < 126 ? 2 : short === 126 ? 4 : 10)
  if (bytes.length < begin) return undefined
  const length = short < 126 ? short : short === 126 ? bytes.readUInt16BE(at + 2) : bytes.readUInt32BE(at + 6)
  const end = begin + length
  if (bytes.length < end) return undefined
  return { isText: ((bytes[at] ?? 0) & 0x0f) === 1, begin, end }
}

/** A client's text frame, masked with zeros: it leaves the text as it is. */
export function maskedText(text: string): Buffer {
  const payload = Buffer.from(text)
  const { length } = payload
  if (length >= 65_536) throw new Error('too long for a client of the bench')
  const head =
    length < 126 ? Buffer.from([0x81, 0x80 | length]) : Buffer.from([0x81, 0xfe, length >> 8, length & 0xff])
  return Buffer.concat([head, Buffer.alloc(4), payload])
}

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
      if (frame.isText) messages += messagesIn(bytes.subarray(frame.begin, frame.end), control)
    }
  }
}

/** A ping may come in one frame with messages, before, among or after them. */
function messagesIn(frame: Buffer, control: (text: string) => void): number {
  let messages = 0
  for (let at = 0; at < frame.length;) {
    const newline = frame.indexOf('\n', at)
    const end = newline < 0 ? frame.length : newline
    if (isControl(frame, at, end)) control(frame.toString('utf8', at, end))
    else messages += 1
    at = end + 1
  }
  return messages
}

const [brace, closing, zero, two, four, i] = Buffer.from('{}024i')

/** Replies, pings and the like: `{}`, `{"id":`, `2`, `0{` and `40`. Every counted message is longer or begins otherwise. */
function isControl(frame: Buffer, at: number, end: number): boolean {
  const first = frame[at]
  const second = frame[at + 1]
  if (first === brace) return second === closing || frame[at + 2] === i
  if (first === two) return end === at + 1
  return (first === zero && second === brace) || (first === four && second === zero)
}

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

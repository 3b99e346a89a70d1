// WebSocket frames by hand (RFC 6455, section 5), with every rule open to being broken.

export const opcodes = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const

export interface FrameOptions {
  readonly opcode?: number
  readonly final?: boolean
  readonly reserved?: number
  readonly masked?: boolean
  /** Bytes of the length field, in place of the right ones; the first without the mask bit. */
  readonly length?: readonly number[]
}

export function frame(payload: Buffer | string, options: FrameOptions = {}): Buffer {
  const body = Buffer.from(payload)
  const { opcode = opcodes.text, final = true, reserved = 0, masked = true } = options
  const [short = 0, ...rest] = options.length ?? lengthOf(body.length)
  // A mask of zeros leaves the payload as it is.
  const head = [(final ? 0x80 : 0) | (reserved << 4) | opcode, (masked ? 0x80 : 0) | short, ...rest]
  return Buffer.concat([Buffer.from(head), Buffer.alloc(masked ? 4 : 0), body])
}

function lengthOf(length: number): number[] {
  if (length < 126) return [length]
  if (length < 65_536) return [126, length >> 8, length & 0xff]
  return [127, 0, 0, 0, 0, length >>> 24, (length >> 16) & 0xff, (length >> 8) & 0xff, length & 0xff]
}

export function closeFrame(code: number): Buffer {
  const body = Buffer.alloc(2)
  body.writeUInt16BE(code)
  return frame(body, { opcode: opcodes.close })
}

export interface ParsedFrame {
  readonly opcode: number
  readonly payload: Buffer
  /** Place where the next one begins. */
  readonly end: number
}

/** The frame that begins at `at`, or undefined while it is not whole. */
export function parseFrame(bytes: Buffer, at: number): ParsedFrame | undefined {
  if (at + 2 > bytes.length) return undefined
  const short = bytes.readUInt8(at + 1) & 0x7f
  const masked = (bytes.readUInt8(at + 1) & 0x80) !== 0
  const lengthEnd = at + 2 + (short === 126 ? 2 : short === 127 ? 8 : 0)
  const start = lengthEnd + (masked ? 4 : 0)
  if (start > bytes.length) return undefined
  const length =
    short === 126 ? bytes.readUInt16BE(at + 2) : short === 127 ? Number(bytes.readBigUInt64BE(at + 2)) : short
  if (start + length > bytes.length) return undefined
  const payload = Buffer.from(bytes.subarray(start, start + length))
  if (masked) {
    for (let n = 0; n < length; n += 1) {
      payload.writeUInt8(payload.readUInt8(n) ^ bytes.readUInt8(lengthEnd + (n % 4)), n)
    }
  }
  return { opcode: bytes.readUInt8(at) & 0x0f, payload, end: start + length }
}

/** Codes of the close frames in a stream of frames; 1005 for one without. */
export function closeCodesIn(bytes: Buffer, from = 0): number[] {
  const codes: number[] = []
  for (let next = parseFrame(bytes, from); next !== undefined; next = parseFrame(bytes, next.end)) {
    if (next.opcode === opcodes.close)
      codes.push(next.payload.length < 2 ? 1_005 : next.payload.readUInt16BE(0))
  }
  return codes
}

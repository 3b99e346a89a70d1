import type { Random } from '../faults/random.ts'
import { brokenFrames, brokenTexts, commands, handshakes, values } from './corpus.ts'
import { frame } from './frames.ts'

/**
 * The frames of one connection. Most are commands that are well-formed, with a value that does not belong there,
 * since the first frame that is not ends the connection; such a one comes last.
 */
export function hostileFrames(random: Random, count: number): Buffer[] {
  const careful = random.chance(0.7)
  return Array.from({ length: count }, (_, n) =>
    careful && n < count - 1 ? frame(commandText(random, true)) : hostileFrame(random),
  )
}

/** A command with any value anywhere, bytes changed in the text or in the frame, or a trap as it is. */
function hostileFrame(random: Random): Buffer {
  const kind = random.next()
  if (kind < 0.7) return frame(commandText(random))
  if (kind < 0.78) return frame(changed(Buffer.from(commandText(random)), random))
  if (kind < 0.86) return changed(frame(commandText(random)), random)
  if (kind < 0.93) return frame(random.pick(brokenTexts))
  const broken = random.pick(brokenFrames)
  return random.chance(0.5) ? broken : changed(Buffer.from(broken), random)
}

export function hostileHandshake(random: Random): Buffer {
  const bytes = Buffer.from(random.pick(handshakes), 'latin1')
  return random.chance(0.5) ? bytes : changed(bytes, random)
}

function commandText(random: Random, careful = false): string {
  const several = random.chance(0.1) ? random.between(2, 20) : 1
  return Array.from({ length: several }, () => {
    const command = replaced(random.pick(commands), random, careful) as Record<string, unknown>
    // A command without a good id ends the connection, and nothing behind it is read.
    if ((careful || random.chance(0.9)) && Object.keys(command).length > 0)
      command['id'] = random.between(1, 2 ** 31)
    return JSON.stringify(command)
  }).join('\n')
}

/** A copy in which values were replaced by others, and keys now and then. */
function replaced(value: unknown, random: Random, careful: boolean, depth = 0): unknown {
  if (depth > 1 && random.chance(0.15)) return replacement(value, random, careful)
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map((item) => replaced(item, random, careful, depth + 1))
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [
      !careful && random.chance(0.02) ? String(random.pick(values)) : key,
      replaced(item, random, careful, depth + 1),
    ]),
  )
}

/** Picks a value of the same type, where another type would end the connection. */
function replacement(value: unknown, random: Random, careful: boolean): unknown {
  if (!careful) return random.pick(values)
  if (typeof value === 'number') return random.between(0, 2 ** 31)
  return random.pick(values.filter((other) => typeof other === typeof value))
}

function changed(bytes: Buffer, random: Random): Buffer {
  if (bytes.length === 0) return bytes
  for (let count = random.between(1, 4); count > 0; count -= 1) {
    bytes[random.between(0, bytes.length - 1)] = random.between(0, 255)
  }
  if (random.chance(0.1)) return bytes.subarray(0, random.between(0, bytes.length))
  return bytes
}

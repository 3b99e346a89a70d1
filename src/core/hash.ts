/** The hash of no text. */
export const emptyHash = 0x811c9dc5

/**
 * FNV-1a over the UTF-16 code units of a text from `from` on: 32 bits, equal on every node. Its low bits are the better
 * mixed ones. `seed` is the hash of a text that stands before this one.
 */
export function fnv1a(text: string, from = 0, seed = emptyHash): number {
  let hash = seed
  for (let index = from; index < text.length; index++) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193)
  }
  return hash >>> 0
}

/**
 * Whether an operation belongs to the sample: by its id alone, so that every node measures the same ones. FNV-1a
 * over the last 12 characters, which are random in every version of UUID that is made for ids.
 */
export function isInSample(operationId: string, rate: number): boolean {
  let hash = 0x811c9dc5
  for (let index = Math.max(0, operationId.length - 12); index < operationId.length; index++) {
    hash = Math.imul(hash ^ operationId.charCodeAt(index), 0x01000193)
  }
  // The low bits of FNV are the better mixed ones; fold the high ones in.
  hash ^= hash >>> 15
  return (hash >>> 0) % 65_536 < rate * 65_536
}

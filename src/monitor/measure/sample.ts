import { fnv1a } from '../../core/index.ts'

/**
 * Whether an operation belongs to the sample: by its id alone, so that every node measures the same ones. Only the last
 * 12 characters are hashed, which are random in every version of UUID that is made for ids.
 */
export function isInSample(operationId: string, rate: number): boolean {
  let hash = fnv1a(operationId, Math.max(0, operationId.length - 12))
  // Folds the high bits into the low ones.
  hash ^= hash >>> 15
  return (hash >>> 0) % 65_536 < rate * 65_536
}

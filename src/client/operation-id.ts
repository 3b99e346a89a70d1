const pattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

/** A UUID in lower case, as the server takes it. */
export function isOperationId(value: unknown): value is string {
  return typeof value === 'string' && pattern.test(value)
}

/**
 * A new operation id: UUID version 7 (RFC 9562, section 5.7) in lower case. Kept here rather than taken from the
 * `uuid` package because these lines are a third of its size in a bundle.
 */
export function newOperationId(): string {
  const time = Date.now().toString(16).padStart(12, '0')
  const random = crypto.getRandomValues(new Uint8Array(10))
  const [version = 0, , variant = 0] = random
  random[0] = 0x70 | (version & 0x0f)
  random[2] = 0x80 | (variant & 0x3f)
  const hex = Array.from(random, (byte) => byte.toString(16).padStart(2, '0')).join('')
  return (time + hex).replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
}

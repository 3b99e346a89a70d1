/**
 * The text without characters beyond ASCII, which are written as JSON writes them: `\u00e9`. JSON means the same by it,
 * and a database whose encoding lacks a character takes it.
 */
export function toAscii(text: string): string {
  // oxlint-disable-next-line no-control-regex -- ASCII is what is meant.
  return /^[\0-\x7f]*$/.test(text) ? text : text.replace(/[^\0-\x7f]/g, escapeUnit)
}

/** Values of a statement, texts within arrays included, for a connection that does not carry every character. */
export function toAsciiValues(values: readonly unknown[]): unknown[] {
  return values.map((value) => {
    if (typeof value === 'string') return toAscii(value)
    return Array.isArray(value) ? toAsciiValues(value as readonly unknown[]) : value
  })
}

// Escapes each UTF-16 unit, as JSON does.
function escapeUnit(character: string): string {
  return Array.from({ length: character.length }, (_, index) => {
    return `\\u${character.charCodeAt(index).toString(16).padStart(4, '0')}`
  }).join('')
}

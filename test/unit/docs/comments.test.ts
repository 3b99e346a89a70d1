// The step "comments" of npm run check finds comments that begin with a pronoun or a fragment, and takes nothing else for one.
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { checkComments, badBeginnings } from '../../../scripts/check-comments.mjs'

const linesOf = (text: string, name = 'x.tsx'): number[] => badBeginnings(name, text).map(({ line }) => line)

describe('a comment that begins with a pronoun is found', () => {
  test.each([
    ['above a statement', '// Those of the ending that stands.\nconst a = 1'],
    ['behind a statement', 'const a = 1 // It is one.'],
    ['with an apostrophe', "// It's one.\nconst a = 1"],
    ['at the end of the file', 'const a = 1\n// Nobody is left.'],
    ['in lower case', '/* none of them */ const a = 1'],
    ['of a member', 'interface A {\n  /** Whoever asks. */\n  readonly a: number\n}'],
    ['in a description of several lines', '/**\n * What is left.\n * Rows.\n */\nconst a = 1'],
    ['between children of an element', 'const a = <p>{/* That one */}</p>'],
    ['as the noun "all"', '// All of them.\nconst a = 1'],
  ])('%s', (_, text) => {
    expect(linesOf(text)).toHaveLength(1)
  })

  test('in the text of a tag', () => {
    const text =
      '/**\n * Adds.\n * @param a the first\n * @param b those that follow\n * @returns what they sum to\n */'
    expect(linesOf(`${text}\nconst a = 1`)).toEqual([4, 5])
  })
})

describe('a comment that begins with a fragment is found', () => {
  test.each([
    ['of a unit', 'interface A {\n  /** In milliseconds. */\n  readonly a: number\n}'],
    ['of a condition', '// Under a lease that was lost, others settle it.\nconst a = 1'],
    ['of a place', '/** Where a stream stands. */\nconst a = 1'],
    ['of a reason', '/** Why it is down. */\nconst a = 1'],
    ['of a time', '// Before the flush.\nconst a = 1'],
    ['of how often', '// Twice: the first may fail.\nconst a = 1'],
    ['of how far', '// Beyond it the rest is dropped.\nconst a = 1'],
    ['without its noun', '/** Sent along, too. */\nconst a = 1'],
    ['that compares', '// Longer than any node takes.\nconst a = 1'],
  ])('%s', (_, text) => {
    expect(linesOf(text)).toHaveLength(1)
  })
})

describe('what is no such comment is let through', () => {
  test.each([
    ['a noun', '// Rows that stand.\nconst a = 1'],
    ['"all" before its noun', '// All rows that stand.\nconst a = 1'],
    ['a participle before its noun', '// Sent messages wait. Known codes: 1.\nconst a = 1'],
    ['a verb with a preposition', '// Called with each event.\nconst a = 1'],
    [
      'a word that begins like a preposition',
      '// Inputs, offsets, forms and asides, on-call too.\nconst a = 1',
    ],
    [
      'a condition in a tag',
      '/**\n * Closes.\n * @throws when it is closed\n * @param a for the rest\n */\nconst a = 1',
    ],
    ['a word that begins like a pronoun', '// Items are kept, italic or not.\nconst a = 1'],
    ['a line that goes on', '// Rows stand until\n// they are removed.\nconst a = 1'],
    ['a string', 'const a = \'// It is\' + "/* Those */"'],
    ['a template', 'const a = `// Those\n// ${1} It`'],
    ['a regular expression', 'const a = /[/]/* They *\\/ 1/.test(b)\nconst c = /\\/\\/ It/'],
    ['text of an element', 'const a = <p>// It is text</p>'],
  ])('%s', (_, text) => {
    expect(linesOf(text)).toEqual([])
  })

  test('but each comment behind a statement is read by itself', () => {
    expect(linesOf('const a = 1 // rows\nconst b = 2 // those\n// These begin.\nconst c = 3')).toEqual([2, 3])
  })
})

test('no comment of this repository begins with a pronoun or a fragment', () => {
  expect(checkComments(fileURLToPath(new URL('../../../', import.meta.url)))).toEqual([])
})

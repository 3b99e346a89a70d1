// An array that is spread into arguments overflows the stack from about 125,000 items on. A bounded one may be: in a new array.
import { readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

const root = new URL('../../../src/', import.meta.url)
const spread =
  /\.(?:push|unshift|splice|concat|max|min|fromCharCode|fromCodePoint)\((?:[^()[\]{}]*,\s*)?\.\.\./

const found = (text: string): string[] => text.split('\n').filter((line) => spread.test(line))

test('no array is spread into the arguments of a function', () => {
  const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.ts'),
  )
  const lines = files.flatMap((name) =>
    found(readFileSync(new URL(name, root), 'utf8')).map((line) => `${name}: ${line.trim()}`),
  )
  expect(lines).toEqual([])
  expect(files.length).toBeGreaterThan(200)
})

test('one that is would be found', () => {
  const text =
    'held.push(...events)\nMath.max(0, ...sizes)\nlist.push([...events])\nconst all = [...held, ...events]'
  expect(found(text)).toEqual(['held.push(...events)', 'Math.max(0, ...sizes)'])
})

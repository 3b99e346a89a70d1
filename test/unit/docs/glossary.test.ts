// The glossary: each word with a place that exists, in use elsewhere, and each term that a page introduces among them.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

const root = new URL('../../../', import.meta.url)
const read = (path: string): string => readFileSync(new URL(path, root), 'utf8')
const glossary = 'docs/reference/glossary.md'

const [built = '', reserved = ''] = read(glossary).split('## Not built yet')
const rowsOf = (text: string): string[][] =>
  text
    .split('\n')
    .filter((line) => line.startsWith('|') && !/^\| *(?:word|-+) *\|/.test(line))
    .map((line) =>
      line
        .split('|')
        .map((cell) => cell.trim())
        .slice(1, -1),
    )
const rows = rowsOf(built)
const words = [...rows, ...rowsOf(reserved)].map(([word = '']) => word)

const pages = readdirSync(new URL('docs', root), { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.md'))
  .map((file) => `docs/${file}`)
  .filter((page) => page !== glossary)
const text = [...pages, 'README.md', 'CONTRIBUTING.md'].map(read).join('\n').toLowerCase()

test('each word stands once, and its meaning is a sentence', () => {
  expect(words.length).toBeGreaterThan(40)
  expect(new Set(words).size).toBe(words.length)
  for (const [word = '', meaning = ''] of rows) expect(`${word}: ${meaning}`).toMatch(/: .{20,}\.$/)
})

test.each(rows)('%s is in files that exist, and in other pages', (word = '', _ = '', where = '') => {
  const files = [...where.matchAll(/`([\w./-]+)`/g)].map(([, file = '']) => file)
  expect(where).not.toBe('')
  for (const file of files) expect([file, existsSync(new URL(file, root))]).toEqual([file, true])
  expect(text).toContain(word.toLowerCase())
})

// Words in capitals are labels of a screen, and "open" is a remark.
test.each(pages.filter((page) => !/trials|performance/.test(page)))(
  '%s introduces terms that the glossary has',
  (page) => {
    const terms = [...read(page).matchAll(/(?<![\w`])_([a-z][a-z -]{2,30})_(?![\w`])/g)].map(
      ([, term = '']) => term,
    )
    expect(terms.filter((term) => !words.includes(term))).toEqual([])
  },
)

// Proofs that the docs name exist: `test/….ts` › `title`, the title as it stands in that file.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { rules } from '../../faults/checker.ts'

const root = new URL('../../../', import.meta.url)
const read = (path: string): string => readFileSync(new URL(path, root), 'utf8')
const pages = readdirSync(fileURLToPath(new URL('docs', root)), { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.md'))
  .map((file) => `docs/${file}`)

interface Proof {
  readonly page: string
  readonly file: string
  readonly title: string
}

const proof = /`(test\/[^`]+\.ts)`\s+›\s+`([^`]+)`/g

function proofsOf(text: string, page: string): Proof[] {
  return [...text.matchAll(proof)].map(([, file = '', title = '']) => ({ page, file, title }))
}

/** Returns whether a test of that title stands in the file; rules of the fault lane stand in its checker. */
function isThere({ file, title }: Proof): boolean {
  if (!existsSync(new URL(file, root))) return false
  if (file === 'test/faults/run.ts') return Object.hasOwn(rules, title)
  const text = title.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`)
  return new RegExp(String.raw`\b(?:test|it|describe)\b[^\n]*(?:\n[^\n]*){0,40}?(['"\`])${text}\1,`).test(
    read(file),
  )
}

const proofs = pages.flatMap((page) => proofsOf(read(page), page))

describe('what the docs name as proof', () => {
  test.each(proofs)('$page: $file › $title', (named) => {
    expect(isThere(named)).toBe(true)
  })

  test('would be missed if it were not there', () => {
    const file = 'test/unit/core/offsets.test.ts'
    const page = 'docs/guarantees.md'
    expect(isThere({ page, file, title: 'lets each offset out once and in order' })).toBe(false)
    expect(isThere({ page, file: 'test/unit/none.test.ts', title: 'x' })).toBe(false)
    expect(isThere({ page, file: 'test/faults/run.ts', title: 'I99' })).toBe(false)
  })
})

test('each promise names a proof, and what is not promised names none', () => {
  const sections = read('docs/guarantees.md').split(/^## /m).slice(1)
  const promises = sections.filter((section) => /^P\d+ · /.test(section))
  expect(promises.map((section) => section.slice(0, 2))).toEqual(['P1', 'P2', 'P3', 'P4', 'P5', 'P8', 'P9'])
  for (const section of promises) expect(proofsOf(section, '')).not.toEqual([])
  expect(proofsOf(sections.find((section) => section.startsWith('Not promised yet')) ?? '`', '')).toEqual([])
})

test('README promises what the guarantees do, and no more', () => {
  const promised = [...read('docs/guarantees.md').matchAll(/^## (P\d+) · (.+)$/gm)].map(
    ([, number, text]) => `${number} ${text}`,
  )
  const shown = [...read('README.md').matchAll(/^\| (P\d+) +\| (.+?) +\|/gm)].map(
    ([, number, text = '']) => `${number} ${text.split(':')[0]}`,
  )
  expect(shown).toEqual(promised)
})

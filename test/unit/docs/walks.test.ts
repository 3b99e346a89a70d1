// The walks of docs/architecture.md: each step is a name that stands in the file it says.
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

const root = new URL('../../../', import.meta.url)
const page = readFileSync(new URL('docs/architecture.md', root), 'utf8')
const text = /<!-- walks:start -->\n(.*)<!-- walks:end -->/s.exec(page)?.[1] ?? ''
const walks = text.split(/^### /m).slice(1)
const stepsOf = (walk: string): readonly string[] => walk.split('\n').filter((line) => /^\d+\. /.test(line))
const named = /`([\w.]+)` \(`(src\/[\w/-]+\.ts)`\)/g

/** Whether the file defines the function, or the class with the method. */
function isDefined(name: string, source: string): boolean {
  const [outer = '', member] = name.split('.')
  if (member === undefined) return new RegExp(`^export (async )?function ${outer}\\b`, 'm').test(source)
  const isThere = new RegExp(`^(export )?class ${outer}\\b`, 'm').test(source)
  return isThere && new RegExp(`^  (readonly |async )*${member}(<.*>)?( = )?\\(`, 'm').test(source)
}

test('four walks have at most a dozen steps each, and each step names something', () => {
  expect(walks).toHaveLength(4)
  for (const walk of walks) {
    expect(stepsOf(walk).length).toBeGreaterThan(5)
    expect(stepsOf(walk).length).toBeLessThanOrEqual(12)
    for (const step of stepsOf(walk)) expect(step).toMatch(/`[\w.]+` \(`src\//)
  }
})

test.each([...text.matchAll(named)].map(([, name = '', file = '']) => [name, file]))(
  '%s is in %s',
  (name, file) => {
    expect(isDefined(name, readFileSync(new URL(file, root), 'utf8'))).toBe(true)
  },
)

test('a name that is not there is found', () => {
  expect(isDefined('Operations.none', readFileSync(new URL('src/client/operations.ts', root), 'utf8'))).toBe(
    false,
  )
  expect(isDefined('none', 'export function some() {}')).toBe(false)
})

import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { mutants } from '../faults/mutants.ts'

// The planted lane takes a minute and runs in CI only; that its texts still fit the sources is told here at once.
const replacements = Object.entries(mutants).flatMap(([bug, list]) =>
  list.map(({ file, find }) => [bug, file, find] as const),
)

it.each(replacements)('the planted bug "%s" finds its text once in %s', (_, file, find) => {
  const source = readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8')
  expect(source.split(find)).toHaveLength(2)
})

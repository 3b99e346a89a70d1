import { readFileSync } from 'node:fs'
import ts from 'typescript'
import { expect, it } from 'vitest'
import { plantedBugs as bugsOfHistories } from '../failover/planted.ts'
import { mutants } from '../faults/mutants.ts'

// The lanes of planted bugs take minutes and run in CI only; that their texts still fit the sources is told here at once.
const bugs = [
  ...Object.entries(mutants).map(([bug, replacements]) => ({ bug, replacements })),
  ...bugsOfHistories,
]
const replacements = bugs.flatMap(({ bug, replacements: list }) =>
  list.map(({ file, find }) => [bug, file, find] as const),
)

it.each(replacements)('the planted bug "%s" finds its text once in %s', (_, file, find) => {
  const source = readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8')
  expect(source.split(find)).toHaveLength(2)
})

it.each(bugs)('the planted bug "$bug" leaves sources that can be compiled', ({ replacements: list }) => {
  const texts = new Map<string, string>()
  for (const { file, find, put } of list) {
    const text = texts.get(file) ?? readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8')
    texts.set(
      file,
      text.replace(find, () => put),
    )
  }
  for (const [fileName, text] of texts) {
    const { diagnostics = [] } = ts.transpileModule(text, { fileName, reportDiagnostics: true })
    expect(diagnostics.map(({ messageText }) => messageText)).toEqual([])
  }
})

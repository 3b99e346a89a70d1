import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { drawBars } from '../../../bench/harness/plot.ts'
import { plotFile, renderPage } from '../../../bench/harness/report.ts'
import { readResults } from '../../../bench/harness/results.ts'

const docs = new URL('../../../docs/', import.meta.url)
const read = (file: string): string => readFileSync(new URL(file, docs), 'utf8')

test('docs/performance.md says what the committed results say', async () => {
  const page = read('performance.md')
  expect(await renderPage(page, readResults())).toBe(page)
})

test('a changed result would change the page', async () => {
  const page = read('performance.md')
  const results = new Map(readResults())
  const [lane] = results.keys()
  const result = lane === undefined ? undefined : results.get(lane)
  if (lane === undefined || result === undefined) throw new Error('there are no results')
  results.set(lane, { ...result, rounds: result.rounds + 1 })
  expect(await renderPage(page, results)).not.toBe(page)
})

test('the plots are drawn from the committed results', () => {
  for (const result of readResults().values()) {
    for (const plot of result.plots ?? [])
      expect(read(`images/${plotFile(result, plot)}`)).toBe(drawBars(plot))
  }
})

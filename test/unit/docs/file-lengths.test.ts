// Files of the product stay short enough to be read in one go.
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const src = fileURLToPath(new URL('../../../src/', import.meta.url))
const files = readdirSync(src, { recursive: true, encoding: 'utf8' })
  .filter((file) => /\.tsx?$/.test(file) && !file.includes('.generated.'))
  .map((file) => ({ file, lines: readFileSync(src + file, 'utf8').split('\n').length - 1 }))
  .toSorted((one, other) => one.lines - other.lines)

test('no file has more than 300 lines', () => {
  expect(files.filter(({ lines }) => lines > 300)).toEqual([])
})

test('nine files of ten have at most 200 lines', () => {
  expect(files[Math.ceil(files.length * 0.9) - 1]?.lines).toBeLessThanOrEqual(200)
})

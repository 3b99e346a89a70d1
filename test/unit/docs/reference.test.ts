// The reference pages list exactly what the code has.
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { outboxBounds } from '../../../src/bus/outbox.ts'
import { pendingLimits } from '../../../src/client/open-operations.ts'
import { errorCatalogue } from '../../../src/core/index.ts'
import { eventBounds } from '../../../src/log/index.ts'
import { defaultLimits } from '../../../src/gateway/index.ts'
import {
  closeCodes,
  commandNames,
  limits,
  replyCodes,
  reservedMethods,
  temporaryReplyCodes,
  unsubscribeCodes,
} from '../../../src/protocol/index.ts'

const page = (name: string): string =>
  readFileSync(new URL(`../../../docs/reference/${name}.md`, import.meta.url), 'utf8')

/** Reads the cells of the table rows below a heading, without the heads of the tables. */
function rowsOf(text: string, heading?: string): string[][] {
  const section =
    heading === undefined
      ? text
      : (text.split(new RegExp(`^#+ ${heading}$`, 'm'))[1]?.split(/^#+ /m)[0] ?? '')
  return section
    .split('\n')
    .filter((line) => line.startsWith('|'))
    .map((line) =>
      line
        .replaceAll(String.raw`\|`, '&#124;')
        .slice(1, -1)
        .split('|'),
    )
    .map((cells) => cells.map((cell) => cell.trim()))
    .filter(([first = '']) => /^(?:`|\d)/.test(first))
}

const unquoted = (cell = ''): string => cell.replaceAll('`', '')
const valuesOf = (codes: object): number[] => (Object.values(codes) as number[]).toSorted((a, b) => a - b)

test('errors.md lists the error catalogue, with what is retryable and the reply', () => {
  const rows = rowsOf(page('errors'))
  const listed = rows.map(([code, , , retryable, reply]) => [
    unquoted(code),
    { retryable: retryable === 'yes', reply: Number(reply) },
  ])
  const catalogue = Object.entries(errorCatalogue).map(([code, { retryable, reply }]) => [
    code,
    { retryable, reply },
  ])
  expect(Object.fromEntries(listed)).toEqual(Object.fromEntries(catalogue))
  expect(rows).toHaveLength(catalogue.length)
})

describe('protocol.md lists', () => {
  const text = page('protocol')

  test('the commands', () => {
    const listed = rowsOf(text, 'Commands').flatMap(([cell = '']) =>
      (cell.match(/`[a-z_]+`/g) ?? []).map(unquoted),
    )
    expect(listed.toSorted()).toEqual([...commandNames].toSorted())
  })

  test('the error replies, and which are temporary', () => {
    const listed = rowsOf(text, 'Error replies').map(([code, , temporary]) => [Number(code), temporary])
    expect(listed).toEqual(
      valuesOf(replyCodes).map((code) => [code, temporaryReplyCodes.has(code) ? 'yes' : 'no']),
    )
  })

  test('the unsubscribe codes, and what the client does', () => {
    const listed = rowsOf(text, 'Unsubscribe pushes').map(([code, , then = '']) => [
      Number(code),
      then.startsWith('subscribes again'),
    ])
    expect(listed).toEqual(valuesOf(unsubscribeCodes).map((code) => [code, code >= 2500]))
  })

  test('the close codes, and what the client does', () => {
    const listed = rowsOf(text, 'Close codes').map(([code, , then]) => [Number(code), then])
    expect(listed).toEqual(
      valuesOf(closeCodes).map((code) => [code, code % 1_000 < 500 ? 'reconnects' : 'gives up']),
    )
  })

  test('the methods of its own', () => {
    const methods = [...text.matchAll(/^### `(.+)`$/gm)].map(([, method]) => method)
    expect(methods).toEqual(Object.values(reservedMethods))
  })
})

test.each([
  ['Of the wire', limits],
  ['Of a gateway', defaultLimits],
  ['Of events in memory', eventBounds],
  ['Of the client', pendingLimits],
  ['Of the bus', outboxBounds],
])('limits.md lists the values: %s', (heading, values) => {
  const listed = rowsOf(page('limits'), heading).map(([name, value]) => [unquoted(name), Number(value)])
  expect(Object.fromEntries(listed)).toEqual(values)
})

test('a row that is missing, or too many, would be found', () => {
  const text = '## A\n| n |\n| - |\n| `x` |\n## B\n| `y` | a \\| b |\n'
  expect(rowsOf(text)).toEqual([['`x`'], ['`y`', 'a &#124; b']])
  expect(rowsOf(text, 'A')).toEqual([['`x`']])
})

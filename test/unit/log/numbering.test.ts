// How offsets are given is known to the rooms log and postgres: another way of numbering must not reach into an operation.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'

const sources = fileURLToPath(new URL('../../../src/', import.meta.url))

/** Lines of a room that add to an offset or subtract from it, without planted bugs. */
function reckoningsOf(room: string): readonly string[] {
  const files = readdirSync(join(sources, room), { recursive: true }).map(String)
  return files
    .filter((file) => file.endsWith('.ts'))
    .flatMap((file) => readFileSync(join(sources, room, file), 'utf8').split('\n'))
    .filter((line) => /\b(?:offsets?|heads?|last)\b\S*\s[-+]=?\s/.test(line))
    .filter((line) => !line.includes('mutationPoint('))
}

/** Statements that append to the log or read it, and what makes places of events from their answers. */
const ofTheLog =
  /\b(?:flushOperation|toFlushRow|settleOperations|readOperations|toOperationRow|readEvents|readHeads|toStoredEvents|toOffsets)\b/

function sendersIn(room: string): readonly string[] {
  const files = readdirSync(join(sources, room), { recursive: true }).map(String)
  return files.filter(
    (file) => file.endsWith('.ts') && ofTheLog.test(readFileSync(join(sources, room, file), 'utf8')),
  )
}

it('an operation sends no statement of the log by itself', () => {
  // Turns the stored positions of a settlement into offsets, and asks for none.
  expect(sendersIn('transaction')).toEqual(['settle/outcome-search.ts'])
  expect(sendersIn('log')).toContain('counting-appender.ts')
})

it('an operation reckons with no offset, and the log does', () => {
  expect(reckoningsOf('transaction')).toEqual([])
  expect(reckoningsOf('log')).not.toEqual([])
})

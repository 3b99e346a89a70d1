import fc from 'fast-check'
import { expect, test } from 'vitest'
import { decodeCommand } from '../../../src/gateway/wire/commands.ts'
import { silentLogger } from '../../../src/core/index.ts'
import { boundedJson, MalformedMessage, parseJson } from '../../../src/gateway/wire/json.ts'
import { ReplyQueue, type ReplyPeer } from '../../../src/gateway/connection/reply-queue.ts'

test('whatever a line holds, it becomes a command or is malformed', () => {
  const lines = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.json(),
    fc
      .record(
        { id: fc.jsonValue(), connect: fc.jsonValue(), subscribe: fc.jsonValue(), rpc: fc.jsonValue() },
        { requiredKeys: [] },
      )
      .map((value) => JSON.stringify(value)),
  )
  fc.assert(
    fc.property(lines, (line) => {
      expect(outcomeOf(() => decodeCommand(line))).toMatch(/^(object|malformed)$/)
    }),
    { numRuns: 2_000 },
  )
})

test('what is accepted is what JSON.parse reads', () => {
  fc.assert(
    fc.property(fc.json({ maxDepth: 5 }), (text) => {
      const value = boundedJson(parseJson(text))
      expect(JSON.stringify(value)).toBe(JSON.stringify(JSON.parse(text)))
    }),
  )
})

function objectsIn(value: unknown): object[] {
  if (typeof value !== 'object' || value === null) return []
  const inner = Object.values(value).flatMap(objectsIn)
  return Array.isArray(value) ? inner : [value, ...inner]
}

test('__proto__, constructor and prototype are keys that are carried as any other', () => {
  const keys = fc.constantFrom('__proto__', 'constructor', 'prototype', 'a')
  const { tree } = fc.letrec<{ tree: unknown }>((tie) => ({
    tree: fc.oneof(
      { maxDepth: 4 },
      fc.integer(),
      fc.array(tie('tree'), { maxLength: 3 }),
      fc.array(fc.tuple(keys, tie('tree')), { maxLength: 3 }).map((entries) => Object.fromEntries(entries)),
    ),
  }))
  fc.assert(
    fc.property(tree, (made) => {
      const text = JSON.stringify(made)
      const value = boundedJson(JSON.parse(text))
      expect(JSON.stringify(value)).toBe(text)
      for (const object of objectsIn(value)) {
        const isPlain = Object.getPrototypeOf(object) === Object.prototype
        // The key `__proto__` of a copy with a prototype would reach that.
        expect(isPlain).toBe(!Object.hasOwn(object, '__proto__'))
      }
    }),
  )
})

test.each([
  ['open brackets', '['.repeat(65_536)],
  ['an array of arrays', `[${'[],'.repeat(21_000)}[]]`],
  ['a long string', `"${'\\"'.repeat(32_000)}"`],
  ['a long number', '9'.repeat(65_536)],
  ['many keys', `{${Array.from({ length: 8_000 }, (_, n) => `"${n}":0`).join()}}`],
])('64 KiB of %s take less than 50 ms of the processor', (_name, text) => {
  // Takes the best of some rounds: time that the machine takes for itself can be charged to this process.
  const rounds = Array.from({ length: 5 }, () => {
    const before = process.cpuUsage()
    expect(outcomeOf(() => boundedJson(parseJson(text)))).not.toMatch(/^threw/)
    return process.cpuUsage(before).user
  })
  expect(Math.min(...rounds)).toBeLessThan(50_000)
})

function outcomeOf(read: () => unknown): string {
  try {
    return typeof read()
  } catch (error) {
    return error instanceof MalformedMessage ? 'malformed' : `threw ${String(error)}`
  }
}

/** A task that ends when it is told to, and notes when it started and finished. */
function task(
  name: string,
  log: string[],
  exclusive = false,
): { end: () => void; add: (queue: ReplyQueue) => void } {
  let end!: () => void
  const done = new Promise<void>((resolve) => {
    end = resolve
  })
  const run = async (): Promise<() => void> => {
    log.push(`${name} starts`)
    await done
    return () => log.push(`${name} ends`)
  }
  return { end, add: (queue) => queue.add({ exclusive, run }) }
}

const quickPeer: ReplyPeer = { isBehind: () => false, onceTaken: () => expect.unreachable() }
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

test('a queue runs side by side, ends in order, and lets an exclusive task stand alone', async () => {
  const log: string[] = []
  const queue = new ReplyQueue(quickPeer, silentLogger)
  const [a, b, alone, c] = [task('a', log), task('b', log), task('alone', log, true), task('c', log)]
  for (const each of [a, b, alone, c]) each.add(queue)
  expect(log).toEqual(['a starts', 'b starts'])
  b.end()
  await turn()
  expect(log).toHaveLength(2)
  a.end()
  await turn()
  expect(log.slice(2)).toEqual(['a ends', 'b ends', 'alone starts'])
  alone.end()
  await turn()
  expect(log.slice(5)).toEqual(['alone ends', 'c starts'])
  c.end()
  await turn()
  expect(queue.length).toBe(0)
})

test('a queue starts at most 16 at a time', async () => {
  const log: string[] = []
  const queue = new ReplyQueue(quickPeer, silentLogger)
  const tasks = Array.from({ length: 20 }, (_, n) => task(`${n}`, log))
  for (const each of tasks) each.add(queue)
  expect(log).toHaveLength(16)
  for (const each of tasks) each.end()
  await turn()
  expect(log.filter((line) => line.endsWith('ends'))).toEqual(tasks.map((_, n) => `${n} ends`))
})

test('replies of a queue wait for a peer that is behind, and nothing further is begun meanwhile', async () => {
  const log: string[] = []
  let catchUp: (() => void) | undefined
  let isBehind = true
  const queue = new ReplyQueue(
    { isBehind: () => isBehind, onceTaken: (work) => (catchUp = work) },
    silentLogger,
  )
  const tasks = Array.from({ length: 20 }, (_, n) => task(`${n}`, log))
  for (const each of tasks) each.add(queue)
  for (const each of tasks) each.end()
  await turn()
  expect(log).toEqual(tasks.slice(0, 16).map((_, n) => `${n} starts`))
  isBehind = false
  catchUp?.()
  await turn()
  expect(log.filter((line) => line.endsWith('ends'))).toEqual(tasks.map((_, n) => `${n} ends`))
})

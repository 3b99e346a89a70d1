// The room table (rooms.mjs) is what src/ looks like, what the docs print, and what dependency-cruiser enforces.
import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

interface Room {
  readonly name: string
  readonly knows: string
  readonly refuses: string
  readonly only?: readonly string[]
}

const root = fileURLToPath(new URL('../../', import.meta.url))
const { rooms, importsOf } = (await import(new URL('../../rooms.mjs', import.meta.url).href)) as {
  readonly rooms: readonly Room[]
  readonly importsOf: (room: Room) => readonly string[]
}

test('every folder of src is a room, and every room a folder', () => {
  const entries = readdirSync(join(root, 'src'), { withFileTypes: true })
  const folders = entries.filter((entry) => entry.isDirectory()).map(({ name }) => name)
  expect(folders.toSorted()).toEqual(rooms.map(({ name }) => name).toSorted())
})

test('docs/architecture.md prints the table', () => {
  const page = readFileSync(join(root, 'docs/architecture.md'), 'utf8')
  const printed = /<!-- rooms:start -->\n(.*)<!-- rooms:end -->/s.exec(page)?.[1] ?? ''
  const rows = printed
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) =>
      line
        .slice(1, -1)
        .split('|')
        .map((cell) => cell.trim()),
    )
  expect(rows).toEqual(
    rooms.map((room) => [
      `\`${room.name}\``,
      room.knows,
      room.refuses,
      room.only === undefined ? 'all above' : room.only.map((name) => `\`${name}\``).join(', '),
    ]),
  )
})

interface CruiseViolation {
  readonly from: string
  readonly to: string
  readonly rule: { readonly name: string }
}

/** What dependency-cruiser says of a project, with the configuration of this one. */
function cruise(folder: string): Promise<readonly CruiseViolation[]> {
  const tool = join(root, 'node_modules/dependency-cruiser/bin/dependency-cruise.mjs')
  const args = [tool, '--config', join(root, '.dependency-cruiser.mjs'), '--output-type', 'json', 'src']
  return new Promise((resolve, reject) => {
    execFile(process.execPath, args, { cwd: folder, maxBuffer: 2 ** 26 }, (error, stdout) => {
      // It exits with the number of violations.
      if (stdout === '') reject(error ?? new Error('no answer'))
      else resolve((JSON.parse(stdout) as { summary: { violations: CruiseViolation[] } }).summary.violations)
    })
  })
}

describe('a planted import', () => {
  const pairs = rooms.flatMap((from) =>
    rooms.filter((to) => to !== from).map((to) => ({ from: from.name, to: to.name })),
  )
  let folder: string
  let violations: readonly CruiseViolation[]

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'lockstep-rooms-'))
    const plant = (path: string, code: string): void => {
      mkdirSync(join(folder, path, '..'), { recursive: true })
      writeFileSync(join(folder, path), `${code}\n`)
    }
    plant('package.json', '{ "name": "planted", "type": "module", "devDependencies": { "zod": "*" } }')
    plant('tsconfig.json', '{ "compilerOptions": { "module": "nodenext" } }')
    for (const { name } of rooms) plant(`src/${name}/index.ts`, 'export const here = 1')
    // Between any two rooms, as a type too: types are knowledge.
    for (const { from, to } of pairs)
      plant(`src/${from}/to-${to}.ts`, `import type {} from '../${to}/index.ts'`)
    plant('src/loose.ts', 'export const here = 1')
    plant('src/core/to-loose.ts', `export * from '../loose.ts'`)
    plant('src/client/to-node.ts', `import 'node:fs'`)
    plant('src/events/cycle-a.ts', `import { b } from './cycle-b.ts'\nexport const a = () => b`)
    plant('src/events/cycle-b.ts', `import { a } from './cycle-a.ts'\nexport const b = () => a`)
    violations = await cruise(folder)
  }, 30_000)
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  const rulesOf = (from: string): string[] => [
    ...new Set(violations.filter((violation) => violation.from === from).map(({ rule }) => rule.name)),
  ]

  test.each(pairs)('from $from to $to is caught unless the table allows it', ({ from, to }) => {
    const room = rooms.find(({ name }) => name === from)
    const allowed = room !== undefined && importsOf(room).includes(to)
    expect(rulesOf(`src/${from}/to-${to}.ts`)).toEqual(allowed ? [] : [`room-${from}`])
  })

  test('of a file without a room is caught', () => {
    expect(rulesOf('src/core/to-loose.ts')).toContain('every-file-has-a-room')
  })

  test('of a module of Node in the client is caught', () => {
    expect(rulesOf('src/client/to-node.ts')).toEqual(['client-runs-in-browsers'])
  })

  test('that closes a cycle is caught', () => {
    expect(rulesOf('src/events/cycle-a.ts')).toEqual(['no-cycles'])
  })
})

test('the sources break no rule', { timeout: 60_000 }, async () => {
  expect(await cruise(root)).toEqual([])
})

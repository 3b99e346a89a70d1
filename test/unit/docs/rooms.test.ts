// The room table (rooms.mjs) is what src/ looks like, what the docs print, and what dependency-cruiser enforces.
import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

interface Wing {
  readonly name: string
  readonly knows: string
}

interface Room extends Wing {
  readonly refuses: string
  readonly only?: readonly string[]
  readonly wings?: readonly Wing[]
}

const root = fileURLToPath(new URL('../../../', import.meta.url))
const { rooms, importsOf } = (await import(new URL('../../../rooms.mjs', import.meta.url).href)) as {
  readonly rooms: readonly Room[]
  readonly importsOf: (room: Room) => readonly string[]
}

test('every folder of src is a room, and every room a folder', () => {
  const entries = readdirSync(join(root, 'src'), { withFileTypes: true })
  const folders = entries.filter((entry) => entry.isDirectory()).map(({ name }) => name)
  expect(folders.toSorted()).toEqual(rooms.map(({ name }) => name).toSorted())
})

test('every folder of a room is a wing, and every wing a folder', () => {
  for (const { name, wings = [] } of rooms) {
    const entries = readdirSync(join(root, 'src', name), { withFileTypes: true })
    const folders = entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name)
    expect({ [name]: folders.toSorted() }).toEqual({ [name]: wings.map((wing) => wing.name).toSorted() })
  }
})

/** Reads the cells of a table of docs/architecture.md. */
function printed(table: string): readonly (readonly string[])[] {
  const page = readFileSync(join(root, 'docs/architecture.md'), 'utf8')
  const text = new RegExp(`<!-- ${table}:start -->\n(.*)<!-- ${table}:end -->`, 's').exec(page)?.[1] ?? ''
  return text
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) =>
      line
        .slice(1, -1)
        .split('|')
        .map((cell) => cell.trim()),
    )
}

test('docs/architecture.md prints the wings', () => {
  expect(printed('wings')).toEqual(
    rooms.flatMap(({ name, wings = [] }) => wings.map((wing) => [`\`${name}/${wing.name}\``, wing.knows])),
  )
})

test('docs/architecture.md prints the table', () => {
  expect(printed('rooms')).toEqual(
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

/** Runs dependency-cruiser over a project, with the configuration of this one. */
function cruise(folder: string): Promise<readonly CruiseViolation[]> {
  const tool = join(root, 'node_modules/dependency-cruiser/bin/dependency-cruise.mjs')
  const args = [tool, '--config', join(root, '.dependency-cruiser.mjs'), '--output-type', 'json', 'src']
  return new Promise((resolve, reject) => {
    execFile(process.execPath, args, { cwd: folder, maxBuffer: 2 ** 26 }, (error, stdout) => {
      // The exit code is the number of violations, so only an empty output is an error.
      if (stdout === '') reject(error ?? new Error('no answer'))
      else resolve((JSON.parse(stdout) as { summary: { violations: CruiseViolation[] } }).summary.violations)
    })
  })
}

describe('a planted import', () => {
  const pairs = rooms.flatMap((from) =>
    rooms.filter((to) => to !== from).map((to) => ({ from: from.name, to: to.name })),
  )
  const wingPairs = rooms.flatMap(({ name: room, wings = [] }) =>
    wings.flatMap((from, at) =>
      wings.filter((to) => to !== from).map((to) => ({ room, from: from.name, to: to.name, at, wings })),
    ),
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
    // Plants an import between any two rooms, of a type: types are knowledge, too.
    for (const { from, to } of pairs)
      plant(`src/${from}/to-${to}.ts`, `import type {} from '../${to}/index.ts'`)
    for (const { from, to, room } of wingPairs)
      plant(`src/${room}/${from}/to-${to}.ts`, `import type {} from '../${to}/here.ts'`)
    for (const { name, wings = [] } of rooms)
      for (const wing of wings) {
        plant(`src/${name}/${wing.name}/here.ts`, 'export const here = 1')
        plant(`src/${name}/${wing.name}/to-beside.ts`, `import type {} from '../index.ts'`)
      }
    plant('src/bus/past-door.ts', `import type {} from '../core/rules.ts'`)
    plant('src/core/rules.ts', 'export const here = 1')
    plant('src/loose.ts', 'export const here = 1')
    plant('src/core/to-loose.ts', `export * from '../loose.ts'`)
    plant('src/client/to-files.ts', `import 'node:fs'`)
    plant('src/feeds/cycle-a.ts', `import { b } from './cycle-b.ts'\nexport const a = () => b`)
    plant('src/feeds/cycle-b.ts', `import { a } from './cycle-a.ts'\nexport const b = () => a`)
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

  test.each(wingPairs)('from $room/$from to its wing $to is caught unless it stands above', (pair) => {
    const { room, from, to, at, wings } = pair
    const isAbove = wings.findIndex(({ name }) => name === to) < at
    expect(rulesOf(`src/${room}/${from}/to-${to}.ts`)).toEqual(isAbove ? [] : [`wing-${room}-${from}`])
    expect(rulesOf(`src/${room}/${from}/to-beside.ts`)).toEqual([`wing-${room}-${from}`])
  })

  test('past the door of a room is caught', () => {
    expect(rulesOf('src/bus/past-door.ts')).toEqual(['through-the-door'])
  })

  test('of a file without a room is caught', () => {
    expect(rulesOf('src/core/to-loose.ts')).toContain('every-file-has-a-room')
  })

  test('of a module of Node in the client is caught', () => {
    expect(rulesOf('src/client/to-files.ts')).toEqual(['client-runs-in-browsers'])
  })

  test('that closes a cycle is caught', () => {
    expect(rulesOf('src/feeds/cycle-a.ts')).toEqual(['no-cycles'])
  })
})

test('the sources break no rule', { timeout: 60_000 }, async () => {
  expect(await cruise(root)).toEqual([])
})

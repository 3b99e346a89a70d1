import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'
import { build, type Rolldown } from 'vite'
import { stripFaultPoints } from '../../../scripts/strip-fault-points.mjs'
import { mutationPoints } from '../../../src/protocol/mutation-point.ts'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lockstep-test-strip-'))
})

afterEach(() => rmSync(folder, { recursive: true }))

const write = (name: string, lines: string[]): void => writeFileSync(join(folder, name), lines.join('\n'))
const read = (name: string): string[] => readFileSync(join(folder, name), 'utf8').split('\n')
/** Strips the folder, and returns the complaint; empty when there is none. */
const strip = (): string => {
  try {
    stripFaultPoints(folder)
    return ''
  } catch (error) {
    return String(error)
  }
}

it('blanks calls and imports and leaves every other line where it was', () => {
  write('work.js', [
    `import { faultPoint } from './fault-point.js';`,
    `export async function work() {`,
    `    await faultPoint('work.before');`,
    `    save();`,
    `    void faultPoint("work.after");`,
    `    faultPoint('work.last');`,
    `}`,
  ])
  expect(strip()).toBe('')
  expect(read('work.js')).toEqual(['', 'export async function work() {', '', '    save();', '', '', '}'])
})

it('empties the module that defines fault points', () => {
  write('fault-point.js', [
    'let hook;',
    'export function faultPoint(name) {',
    '    return hook?.(name);',
    '}',
  ])
  write('fault-point.js.map', ['{}'])
  write('fault-point.d.ts', ['export declare function faultPoint(name: string): void;'])
  expect(strip()).toBe('')
  expect(read('fault-point.js')).toEqual(['export {};', ''])
  expect(read('fault-point.d.ts')).toEqual(['export {};', ''])
  expect(existsSync(join(folder, 'fault-point.js.map'))).toBe(false)
})

it.each([
  ['a value', `const done = faultPoint('work.before');`],
  ['a condition', `if (late) faultPoint('work.before');`],
  ['the only statement of a condition', `if (late)\n    faultPoint('work.before');`],
  ['a computed name', `faultPoint(name);`],
  ['an import with other names', `import { faultPoint, setFaultHook } from './fault-point.js';`],
  ['an import of something else in its module', `import { setFaultHook } from './fault-point.js';`],
  ['a re-export of its module', `export * from './fault-point.js';`],
])('refuses %s', (_, line) => {
  write('work.js', ['start();', line])
  expect(strip()).toContain('work.js:')
})

describe('a mutation point', () => {
  const stripped = (lines: string[]): string[] => {
    write('work.js', lines)
    expect(strip()).toBe('')
    return read('work.js').map((line) => line.trimEnd())
  }

  it('is false, and what stands behind it goes', () => {
    expect(
      stripped([
        `import { mutationPoint } from '../protocol/mutation-point.js';`,
        `export function take(wanted) {`,
        `    if (mutationPoint('a'))`,
        `        return wanted;`,
        `    if (mutationPoint('b') && wanted > 1) {`,
        `        return 1;`,
        `    }`,
        `    else if (wanted === 0)`,
        `        return 0;`,
        `    if (!mutationPoint('c'))`,
        `        check(wanted);`,
        `    if (wanted < 9 && !mutationPoint('d'))`,
        `        return 9;`,
        `    if ((wanted === 7 || mutationPoint('e')) && (mutationPoint('f') ? left : right))`,
        `        return 7;`,
        `    return mutationPoint('g')`,
        `        ? 1`,
        `        : 2;`,
        `}`,
      ]),
    ).toEqual([
      '',
      'export function take(wanted) {',
      '',
      '',
      '    if (wanted === 0)',
      '        return 0;',
      '',
      '',
      '',
      '    check(wanted);',
      '',
      '    if (wanted < 9)',
      '        return 9;',
      '    if ((wanted === 7) && (right))',
      '        return 7;',
      '    return 2',
      '',
      ';',
      '}',
    ])
  })

  it.each([
    ['a value', `const isPlanted = mutationPoint('a');`],
    ['a computed name', `if (mutationPoint(name)) leave();`],
    ['a condition behind work that has been done', `if (save() && mutationPoint('a')) leave();`],
    ['the only statement of a condition', `if (late)\n    if (mutationPoint('a')) leave();`],
    ['an import with other names', `import { mutationPoint, plantMutations } from './mutation-point.js';`],
    ['an import of something else in its module', `import { plantMutations } from './mutation-point.js';`],
  ])('is refused as %s', (_, line) => {
    write('work.js', ['start();', line])
    expect(strip()).toContain('work.js:')
  })
})

describe('of the sources', () => {
  const sources = fileURLToPath(new URL('../../../src', import.meta.url))

  /** Compiles the sources as the build does, but for types. */
  function compile(): void {
    for (const file of readdirSync(sources, { recursive: true }).map(String)) {
      if (!file.endsWith('.ts')) continue
      const { outputText } = ts.transpileModule(readFileSync(join(sources, file), 'utf8'), {
        compilerOptions: {
          module: ts.ModuleKind.ESNext,
          target: ts.ScriptTarget.ES2022,
          rewriteRelativeImportExtensions: true,
        },
        fileName: join(sources, file),
      })
      const path = join(folder, file.replace(/\.ts$/, '.js'))
      mkdirSync(dirname(path), { recursive: true })
      writeFileSync(path, outputText)
    }
  }

  const compiled = (): string =>
    readdirSync(folder, { recursive: true })
      .map(String)
      .filter((file) => file.endsWith('.js'))
      .map((file) => readFileSync(join(folder, file), 'utf8'))
      .join('\n')

  async function bundleOfClient(): Promise<string> {
    const result = await build({
      configFile: false,
      logLevel: 'silent',
      build: {
        write: false,
        minify: true,
        rolldownOptions: {
          input: join(folder, 'client/index.js'),
          external: ['centrifuge'],
          preserveEntrySignatures: 'strict',
        },
      },
    })
    const { output } = result as Rolldown.RolldownOutput
    return output.map((chunk) => ('code' in chunk ? chunk.code : '')).join('')
  }

  it('nothing is left of fault points and mutation points, and the client is as small as without them', async () => {
    writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
    compile()
    const before = compiled()
    for (const name of mutationPoints) expect(before).toContain(name)
    // Replaces each point by the constant that it stands for, so that a minifier drops exactly what the points add.
    for (const file of readdirSync(join(folder, 'client')).map((name) => join(folder, 'client', name))) {
      const text = readFileSync(file, 'utf8').replace(/^import \{ mutationPoint \}.*$/m, '')
      writeFileSync(file, text.replaceAll(/mutationPoint\([^)]*\)/g, 'false'))
    }
    const without = await bundleOfClient()
    compile()
    expect(strip()).toBe('')
    const after = compiled()
    expect(after).not.toMatch(/faultPoint|mutationPoint|plantMutations/)
    expect(mutationPoints.filter((name) => after.includes(name))).toEqual([])
    const client = await bundleOfClient()
    expect(client.length).toBeGreaterThan(10_000)
    expect(client.length).toBeLessThanOrEqual(without.length)
  }, 60_000)
})

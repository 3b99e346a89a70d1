import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, it } from 'vitest'

const script = fileURLToPath(new URL('../../scripts/strip-fault-points.mjs', import.meta.url))
let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lockstep-test-strip-'))
})

afterEach(() => rmSync(folder, { recursive: true }))

const write = (name: string, lines: string[]): void => writeFileSync(join(folder, name), lines.join('\n'))
const read = (name: string): string[] => readFileSync(join(folder, name), 'utf8').split('\n')
const strip = (): { status: number | null; stderr: string } =>
  spawnSync(process.execPath, [script, folder], { encoding: 'utf8' })

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
  expect(strip().status).toBe(0)
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
  expect(strip().status).toBe(0)
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
  const { status, stderr } = strip()
  expect(status).toBe(1)
  expect(stderr).toContain('work.js:')
})

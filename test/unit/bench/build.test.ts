import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'
import { expect, test } from 'vitest'
import { built } from '../../../bench/harness/built.ts'

const root = fileURLToPath(new URL('../../../', import.meta.url))

/** Compiler options that decide the emitted JavaScript. */
function optionsOf(file: string): object {
  const path = join(root, file)
  const { config } = ts.readConfigFile(path, (name) => ts.sys.readFile(name)) as { config: unknown }
  const { options, errors } = ts.parseJsonConfigFileContent(config, ts.sys, join(path, '..'))
  expect(errors).toEqual([])
  return {
    ...options,
    rootDir: undefined,
    outDir: undefined,
    configFilePath: undefined,
    declaration: undefined,
    declarationMap: undefined,
    sourceMap: undefined,
    // Set undefined: the option only leaves the check of types out.
    noCheck: undefined,
  }
}

test('the bench compiles with the options of the published build', () => {
  expect(optionsOf('bench/tsconfig.build.json')).toEqual(optionsOf('tsconfig.build.json'))
})

test('what the bench measures has neither fault points nor a transpiler’s wrappers, and is built once', async () => {
  const build = await built()
  const folder = join(build.children, '..', '..')
  const files = readdirSync(folder, { recursive: true }).map(String)
  expect(files).toContain(join('src', 'index.js'))
  expect(files).toContain(join('bench', 'children', 'transactor.js'))
  const other = /\bfaultPoint\(|\b__name\(|\.ts['"]\)?;?$/m
  const unlike = files.filter(
    (file) => file.endsWith('.js') && other.test(readFileSync(join(folder, file), 'utf8')),
  )
  expect(unlike).toEqual([])
  expect(await built()).toBe(build)
}, 90_000)

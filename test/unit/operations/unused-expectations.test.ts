// The mistakes of `app-types.test.ts` stay errors because the compiler reports an expectation that nothing meets.
import { fileURLToPath } from 'node:url'
import ts from 'typescript'
import { expect, test } from 'vitest'

const unusedDirective = 2578

test('an expected error that is none is an error of the types', { timeout: 60_000 }, () => {
  const root = fileURLToPath(new URL('../../..', import.meta.url))
  const { config } = ts.readConfigFile(`${root}tsconfig.json`, (path) => ts.sys.readFile(path)) as {
    config: unknown
  }
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, root)
  const name = `${root}test/unit/operations/not-there.ts`
  const code = '// @ts-expect-error no error\nexport const one: number = 1\n'
  const host = ts.createCompilerHost(options)
  host.readFile = (path) => (path === name ? code : ts.sys.readFile(path))
  host.fileExists = (path) => path === name || ts.sys.fileExists(path)
  const program = ts.createProgram([name], { ...options, types: [] }, host)
  const found = program.getSemanticDiagnostics(program.getSourceFile(name))
  expect(found.map((each) => each.code)).toEqual([unusedDirective])
})

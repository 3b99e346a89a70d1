// Every `ts` example of README and docs compiles against the sources. Examples of one page that share a file name
// (```ts server.ts) are parts of one file, and can be imported by the page's other examples.
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'
import { expect, test } from 'vitest'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const pages = [
  'README.md',
  'CONTRIBUTING.md',
  ...readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.md'))
    .map((file) => join('docs', file)),
]

/** Examples by the path they would have: a folder for each page, below this one, so that `lockstep` is resolved. */
function examplesOf(page: string): Map<string, string> {
  const files = new Map<string, string>()
  const text = readFileSync(join(root, page), 'utf8')
  const fences = text.matchAll(/^```(\w+)(?: (\S+))?\n(.*?)^```$/gms)
  for (const [index, [, language, name, code]] of [...fences].entries()) {
    if (language !== 'ts') continue
    const file = join(root, 'test/unit/examples', page, name ?? `${index}.ts`)
    files.set(file, `${files.get(file) ?? ''}${code ?? ''}`)
  }
  return files
}

function errorsIn(files: ReadonlyMap<string, string>): string[] {
  const config = ts.parseJsonConfigFileContent(
    ts.readConfigFile(join(root, 'tsconfig.json'), (path) => ts.sys.readFile(path)).config as unknown,
    ts.sys,
    root,
  )
  // The reader's own settings decide how `process.env` is read.
  const options = { ...config.options, noPropertyAccessFromIndexSignature: false, isolatedModules: false }
  const host = ts.createCompilerHost(options)
  const folders = new Set([...files.keys()].map(dirname))
  host.readFile = (path) => files.get(path) ?? ts.sys.readFile(path)
  host.fileExists = (path) => files.has(path) || ts.sys.fileExists(path)
  host.directoryExists = (path) => folders.has(path) || ts.sys.directoryExists(path)
  const program = ts.createProgram([...files.keys()], options, host)
  return [...files.keys()].flatMap((path) => {
    const source = program.getSourceFile(path)
    const problems = [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)]
    return problems.map(({ start = 0, messageText }) => {
      const { line = 0 } = source?.getLineAndCharacterOfPosition(start) ?? {}
      const place = path.slice(join(root, 'test/unit/examples').length + 1)
      return `${place}:${line + 1} ${ts.flattenDiagnosticMessageText(messageText, ' ')}`
    })
  })
}

const examples = new Map(pages.flatMap((page) => [...examplesOf(page)]))

test('README and the start page have examples', () => {
  const names = [...examples.keys()].map((path) => path.slice(join(root, 'test/unit/examples').length + 1))
  expect(names).toEqual(
    expect.arrayContaining(['README.md/server.ts', 'README.md/client.ts', 'docs/start.md/client.ts']),
  )
})

test('examples of README and docs compile', { timeout: 240_000 }, () => {
  expect(errorsIn(examples)).toEqual([])
})

test('an example that does not fit the library is found', { timeout: 240_000 }, () => {
  const file = join(root, 'test/unit/examples/broken/example.ts')
  const code = `import { createLockstep } from 'lockstep'\ncreateLockstep({ databse: 1 })\nexport const n: string = 1\n`
  expect(errorsIn(new Map([[file, code]]))).toEqual([
    expect.stringContaining('broken/example.ts:2'),
    expect.stringContaining("broken/example.ts:3 Type 'number' is not assignable"),
  ])
})

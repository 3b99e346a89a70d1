// A rejection that nobody hears ends a Node process. Work that nobody awaits is therefore started by one helper (`detach`
// and its neighbours), and this test finds every other way to let go of a promise: `void promise`, and a chain of
// `then`, `catch` or `finally` that stands as a statement. The lint refuses promises that are not handled at all.
import { readdirSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'
import { expect, test } from 'vitest'

const source = fileURLToPath(new URL('../../../src', import.meta.url))
const helpers = new Set(['core/detach.ts', 'core/logger.ts', 'client/detach.ts'])
const chains = new Set(['then', 'catch', 'finally'])

function detachedIn(files: ReadonlyMap<string, string> | undefined): string[] {
  const options: ts.CompilerOptions = {
    target: ts.ScriptTarget.ES2023,
    module: ts.ModuleKind.NodeNext,
    allowImportingTsExtensions: true,
    noEmit: true,
    skipLibCheck: true,
    types: ['node'],
    strict: true,
  }
  const host = ts.createCompilerHost(options)
  const read = host.readFile.bind(host)
  host.readFile = (path) => files?.get(path) ?? read(path)
  host.fileExists = (path) => files?.has(path) === true || ts.sys.fileExists(path)
  const names = readdirSync(source, { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.ts'),
  )
  const paths = files === undefined ? names.map((name) => join(source, name)) : [...files.keys()]
  const program = ts.createProgram(paths, options, host)
  const checker = program.getTypeChecker()
  const found: string[] = []
  const isPromise = (node: ts.Expression): boolean =>
    checker
      .getTypeAtLocation(node)
      .getProperties()
      .some(({ name }) => name === 'then')
  for (const path of paths) {
    const file = program.getSourceFile(path)
    if (file === undefined) throw new Error(`not read: ${path}`)
    if (helpers.has(relative(source, path))) continue
    const report = (node: ts.Node, what: string): void => {
      const { line } = file.getLineAndCharacterOfPosition(node.getStart())
      found.push(`${relative(source, path)}:${line + 1} ${what}`)
    }
    const visit = (node: ts.Node): void => {
      if (ts.isVoidExpression(node) && isPromise(node.expression)) report(node, 'void of a promise')
      if (ts.isExpressionStatement(node) && isChain(node.expression))
        report(node, 'a chain that nobody awaits')
      ts.forEachChild(node, visit)
    }
    visit(file)
  }
  return found
}

function isChain(node: ts.Expression): boolean {
  if (!ts.isCallExpression(node) || !ts.isPropertyAccessExpression(node.expression)) return false
  return chains.has(node.expression.name.text)
}

test('nothing but the helpers lets go of a promise', { timeout: 240_000 }, () => {
  expect(detachedIn(undefined)).toEqual([])
})

test('a promise that is let go of in another way is found', { timeout: 240_000 }, () => {
  const path = join(source, 'example.ts')
  const lines = [
    'declare const work: () => Promise<void>',
    'declare const maybe: { readonly work?: () => Promise<void> }',
    'void work()',
    'setTimeout(() => void work(), 1)',
    'work().catch(() => {})',
    'work().then(() => {}, () => {})',
    'maybe.work?.().finally(() => {})',
    'void setTimeout(() => {}, 1)',
    'export const awaited = work().catch(() => {})',
  ]
  expect(detachedIn(new Map([[path, lines.join('\n')]]))).toEqual([
    'example.ts:3 void of a promise',
    'example.ts:4 void of a promise',
    'example.ts:5 a chain that nobody awaits',
    'example.ts:6 a chain that nobody awaits',
    'example.ts:7 a chain that nobody awaits',
  ])
})

// npm run check: everything but the tests. All steps run, also after one has failed.
import { runNode, toolPath } from './run-tool.mjs'
import { ensureDependencies } from './setup.mjs'

ensureDependencies()

const steps = [
  ['types', [toolPath('typescript', 'tsc'), '-p', 'tsconfig.json']],
  ['lint', [toolPath('oxlint'), '--type-aware', '--deny-warnings']],
  ['rooms', [toolPath('dependency-cruiser', 'depcruise'), '--config', '.dependency-cruiser.mjs', 'src']],
  ['format', [toolPath('prettier'), '--check', '.']],
  ['dead code', [toolPath('knip'), '--no-progress']],
  ['migrations', ['scripts/bake-migrations.mjs', '--check']],
  ['build', ['scripts/build.mjs']],
  ['package', [toolPath('publint'), '--strict']],
  ['package types', [toolPath('@arethetypeswrong/cli', 'attw'), '--pack', '.', '--profile', 'esm-only']],
  ['size', [toolPath('size-limit')]],
]

const failed = []
for (const [name, args] of steps) {
  const began = performance.now()
  const { code, output } = await runNode(args, { capture: true })
  const seconds = ((performance.now() - began) / 1000).toFixed(1)
  console.log(`${code === 0 ? 'ok    ' : 'FAILED'}  ${name}  ${seconds} s`)
  if (code === 0) continue
  failed.push(name)
  console.log(output.trimEnd().replace(/^/gm, '    '))
}

console.log(failed.length === 0 ? `all ${steps.length} steps passed` : `failed: ${failed.join(', ')}`)
process.exitCode = failed.length === 0 ? 0 : 1

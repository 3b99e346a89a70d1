// npm run check: everything but the tests. All steps run, also after one has failed.
import { runNode, toolPath } from './run-tool.mjs'
import { ensureDependencies } from './setup.mjs'

ensureDependencies()

const steps = [
  // Build first: the demo is typed and linted against the built package, as its users' code is.
  { name: 'build', args: ['scripts/build.mjs'] },
  { name: 'types', args: [toolPath('typescript', 'tsc'), '-p', 'tsconfig.json'] },
  { name: 'types of the page', args: [toolPath('typescript', 'tsc'), '-p', 'examples/chat/web'] },
  { name: 'types of the dashboard', args: [toolPath('typescript', 'tsc'), '-p', 'dashboard'] },
  { name: 'lint', args: [toolPath('oxlint'), '--type-aware', '--deny-warnings'] },
  {
    name: 'rooms',
    args: [toolPath('dependency-cruiser', 'depcruise'), '--config', '.dependency-cruiser.mjs', 'src'],
  },
  { name: 'format', args: [toolPath('prettier'), '--check', '.'] },
  { name: 'comments', args: ['scripts/check-comments.mjs'] },
  { name: 'dead code', args: [toolPath('knip'), '--no-progress'] },
  { name: 'migrations', args: ['scripts/bake-migrations.mjs', '--check'] },
  { name: 'package', args: [toolPath('publint'), '--strict'] },
  {
    name: 'package types',
    args: [toolPath('@arethetypeswrong/cli', 'attw'), '--pack', '.', '--profile', 'esm-only'],
  },
  { name: 'size', args: [toolPath('size-limit')] },
]

const failed = []
for (const { name, args } of steps) {
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

// Builds the library (src → dist, without fault points) and the chat demo (server and web page).
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { demoFolder, libraryFolder } from './build-output.mjs'
import { runNode, toolPath } from './run-tool.mjs'
import { ensureDependencies, root } from './setup.mjs'
import { stripFaultPoints } from './strip-fault-points.mjs'

ensureDependencies()

// Files of deleted sources must not live on in the package.
for (const folder of [libraryFolder, demoFolder]) rmSync(join(root, folder), { recursive: true, force: true })

const tsc = toolPath('typescript', 'tsc')
await step('library', [tsc, '-p', 'tsconfig.build.json'])
stripFaultPoints(join(root, libraryFolder))
await step('demo server', [tsc, '-p', 'examples/chat/server/tsconfig.json'])
await step('demo page', [toolPath('vite'), 'build', 'examples/chat/web', '--logLevel', 'warn'])

async function step(name, args) {
  const { code } = await runNode(args)
  if (code === 0) return
  console.error(`lockstep: building the ${name} failed`)
  process.exit(1)
}

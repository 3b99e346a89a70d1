// Builds the library (src → dist, without fault points), its dashboard, and the chat demo (server and web page).
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { demoFolder, demoServer, libraryFolder } from './build-output.mjs'
import { runNode, toolPath } from './run-tool.mjs'
import { buildChecksum, ensureDependencies, root, stampBuild } from './setup.mjs'
import { stripFaultPoints } from './strip-fault-points.mjs'
import { keepPublicDeclarations, putCentrifuge } from './trim-centrifuge.mjs'

ensureDependencies()
const checksum = buildChecksum()

// Files of deleted sources must not live on in the package.
for (const folder of [libraryFolder, demoFolder]) rmSync(join(root, folder), { recursive: true, force: true })

const tsc = toolPath('typescript', 'tsc')
await step('library', [tsc, '-p', 'tsconfig.build.json'])
stripFaultPoints(join(root, libraryFolder))
const client = join(root, libraryFolder, 'client')
putCentrifuge(client)
keepPublicDeclarations(client)
await step('dashboard', [
  toolPath('vite'),
  'build',
  '--config',
  'dashboard/vite.config.ts',
  '--logLevel',
  'warn',
])
await step('demo server', [tsc, '-p', 'examples/chat/server/tsconfig.json'])
await step('demo page', [
  toolPath('vite'),
  'build',
  '--config',
  'examples/chat/vite.config.ts',
  '--logLevel',
  'warn',
])
writeDemoEntry()
stampBuild(checksum)

// The demo's server uses tools/, so its compiled files mirror the whole repository; this gives them one short address.
function writeDemoEntry() {
  const entry = join(root, demoServer)
  mkdirSync(dirname(entry), { recursive: true })
  writeFileSync(
    entry,
    `import { main } from '../node/examples/chat/server/main.js'

await main({ webRoot: new URL('../web/', import.meta.url) })
`,
  )
}

async function step(name, args) {
  const { code } = await runNode(args)
  if (code === 0) return
  console.error(`lockstep: building the ${name} failed`)
  process.exit(1)
}

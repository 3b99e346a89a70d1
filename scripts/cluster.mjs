// npm run cluster: the demo as three processes behind one address. `npm run cluster -- --kill-every 5` kills one of them
// every 5 seconds.
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { demoServer } from './build-output.mjs'
import { ensureBuilt, ensureDependencies, root } from './setup.mjs'

ensureDependencies()
ensureBuilt()
const cluster = join(root, 'examples/chat/dist/node/examples/chat/server/cluster.js')
const { main } = await import(pathToFileURL(cluster).href)
await main({ entry: join(root, demoServer) })

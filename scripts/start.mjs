// npm start: installs and builds what is missing, then runs the demo in this process, so that signals reach it.
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { demoServer } from './build-output.mjs'
import { ensureBuilt, ensureDependencies, root } from './setup.mjs'

ensureDependencies()
ensureBuilt()
await import(pathToFileURL(join(root, demoServer)).href)

// npm run bench: installs what is missing, then runs bench/run.ts in this process, so that signals reach it.
import { ensureDependencies } from './setup.mjs'

ensureDependencies()
const { register } = await import('tsx/esm/api')
register()
await import('../bench/run.ts')

// npm run issue370: eight scenarios against the real system, without Lockstep and with it.
import { runNode } from './run-tool.mjs'
import { ensureDependencies } from './setup.mjs'

ensureDependencies()
const { code } = await runNode(['--import', 'tsx', 'test/issue370/run.ts', ...process.argv.slice(2)])
process.exitCode = code

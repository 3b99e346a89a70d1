// npm run issue370: the eight scenarios of the test plan against the real system, before and after.
import { runNode } from './run-tool.mjs'
import { ensureDependencies } from './setup.mjs'

ensureDependencies()
const { code } = await runNode(['--import', 'tsx', 'test/issue370/run.ts', ...process.argv.slice(2)])
process.exitCode = code

// npm test: the lanes that need no system package. Arguments go to Vitest; naming a --project chooses the lanes.
import { runNode, toolPath } from './run-tool.mjs'
import { ensureDependencies } from './setup.mjs'

const lanes = ['unit', 'integration', 'process']

ensureDependencies()
const args = process.argv.slice(2)
const choosesLanes = args.some((arg) => arg === '--project' || arg.startsWith('--project='))
const projects = choosesLanes ? [] : lanes.map((lane) => `--project=${lane}`)

const { code } = await runNode([toolPath('vitest'), 'run', ...projects, ...args])
process.exitCode = code

// The processes of the bench, compiled as the library is that a user installs: by the same compiler with the same options,
// without the fault points of the tests, and without what a transpiler puts around every function at run time. Peers and
// receivers are compiled alongside, so all are measured alike.
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, rename, rm, stat, utimes } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { stripFaultPoints } from '../../scripts/strip-fault-points.mjs'

export interface Build {
  /** First digits of the checksum of all that it was made of. */
  readonly id: string
  /** Of the compiled processes. */
  readonly children: string
  /** `undefined`: it was there already. */
  readonly tookMs?: number
}

const root = fileURLToPath(new URL('../../', import.meta.url))
const builds = join(root, '.lockstep', 'bench-build')
const sources = ['src', 'bench/children', 'bench/harness']
const settings = ['tsconfig.base.json', 'bench/tsconfig.build.json', 'scripts/strip-fault-points.mjs']
const unusedForMs = 24 * 3_600_000
let current: Promise<Build> | undefined

/** Once for each process. Runs that measure different sources at the same time do not meet: each build has a folder of its own. */
export const built = (): Promise<Build> => (current ??= build())

/** For the header of results. */
export const describeBuild = ({ id }: Build): string => `library as published, build ${id}`

async function build(): Promise<Build> {
  const began = performance.now()
  for (let attempt = 0; attempt < 3; attempt += 1) {
    const id = await checksum()
    const folder = join(builds, id)
    if (existsSync(folder)) {
      // What is in use is not old.
      await utimes(folder, new Date(), new Date())
      return { id, children: childrenOf(folder) }
    }
    const draft = `${folder}.${process.pid}`
    await compile(draft)
    stripFaultPoints(join(draft, 'src'))
    // Somebody who writes meanwhile may have been read half.
    if ((await checksum()) === id) {
      await keep(draft, folder)
      return { id, children: childrenOf(folder), tookMs: Math.round(performance.now() - began) }
    }
    await rm(draft, { recursive: true, force: true })
  }
  throw new Error('the sources changed while they were compiled, three times')
}

const childrenOf = (folder: string): string => join(folder, 'bench', 'children')

/** Of the contents, never of times: a checkout of another commit may be older than what was built. */
async function checksum(): Promise<string> {
  const sum = createHash('sha256').update(compiler().version)
  for (const file of [...settings, ...(await Promise.all(sources.map(listed))).flat()]) {
    sum
      .update(file)
      .update('\0')
      .update(await readFile(join(root, file)))
      .update('\0')
  }
  return sum.digest('hex').slice(0, 12)
}

async function listed(folder: string): Promise<string[]> {
  const files = await readdir(join(root, folder), { recursive: true })
  return files
    .filter((file) => file.endsWith('.ts'))
    .toSorted()
    .map((file) => join(folder, file))
}

function compiler(): { readonly path: string; readonly version: string } {
  const require = createRequire(import.meta.url)
  const { version } = require('typescript/package.json') as { version: string }
  return { path: require.resolve('typescript/lib/tsc.js'), version }
}

/** Types are the matter of `npm run check`; leaving them out halves the time and changes no byte. */
async function compile(folder: string): Promise<void> {
  const args = [compiler().path, '-p', join(root, 'bench', 'tsconfig.build.json'), '--outDir', folder]
  const child = spawn(process.execPath, args, { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] })
  let said = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (said += text))
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', resolve)
  })
  if (code === 0) return
  await rm(folder, { recursive: true, force: true })
  throw new Error(`the library could not be compiled:\n${said}`)
}

/** Under its name in one step: who finds a build finds all of it. */
async function keep(draft: string, folder: string): Promise<void> {
  await removeUnused()
  try {
    await rename(draft, folder)
  } catch (error) {
    await rm(draft, { recursive: true, force: true })
    // Another run has built the same.
    if (!existsSync(folder)) throw error
  }
}

async function removeUnused(): Promise<void> {
  await mkdir(builds, { recursive: true })
  for (const name of await readdir(builds)) {
    const folder = join(builds, name)
    const { mtimeMs } = await stat(folder).catch(() => ({ mtimeMs: Date.now() }))
    if (Date.now() - mtimeMs > unusedForMs) await rm(folder, { recursive: true, force: true })
  }
}

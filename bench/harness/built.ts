// The processes of the bench, compiled as the library is that a user installs: by the same compiler with the same options,
// without the fault points of the tests, and without what a transpiler puts around every function at run time. Peers and
// receivers are compiled alongside, so all are measured alike.
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, rename, rm, stat, utimes } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

export interface Build {
  /** First digits of the checksum of all that it was made of. */
  readonly id: string
  /** Of the compiled processes. */
  readonly children: string
  /** Of the compiled library. */
  readonly library: string
  /** `undefined`: it was there already. */
  readonly tookMs?: number
}

/** The working tree. */
export const root = fileURLToPath(new URL('../../', import.meta.url))
const builds = join(root, '.lockstep', 'bench-build')
const sources = ['src', 'bench/children', 'bench/harness']
const settings = ['tsconfig.base.json', 'bench/tsconfig.build.json', 'scripts/strip-fault-points.mjs']
const unusedForMs = 24 * 3_600_000
const byTree = new Map<string, Promise<Build>>()

/**
 * Once for each process and tree. Runs that measure different sources at the same time do not meet: each build has a folder
 * of its own. Another tree than the working one lies within it, since both find their packages in its node_modules.
 */
export function built(tree = root): Promise<Build> {
  const building = byTree.get(tree) ?? build(tree)
  byTree.set(tree, building)
  return building
}

/** For the header of results. */
export const describeBuild = ({ id }: Build): string => `library as published, build ${id}`

async function build(tree: string): Promise<Build> {
  const began = performance.now()
  for (let attempt = 0; attempt < 3; attempt += 1) {
    const id = await checksum(tree)
    const folder = join(builds, id)
    if (existsSync(folder)) {
      // What is in use is not old.
      await utimes(folder, new Date(), new Date())
      return { id, ...foldersOf(folder) }
    }
    const draft = `${folder}.${process.pid}`
    await compile(tree, draft)
    await stripFaultPoints(tree, join(draft, 'src'))
    // Somebody who writes meanwhile may have been read half.
    if ((await checksum(tree)) === id) {
      await keep(draft, folder)
      return { id, ...foldersOf(folder), tookMs: Math.round(performance.now() - began) }
    }
    await rm(draft, { recursive: true, force: true })
  }
  throw new Error('the sources changed while they were compiled, three times')
}

const foldersOf = (folder: string): Pick<Build, 'children' | 'library'> => ({
  children: join(folder, 'bench', 'children'),
  library: join(folder, 'src'),
})

/** Of the contents, never of times: a checkout of another commit may be older than what was built. */
async function checksum(tree: string): Promise<string> {
  const sum = createHash('sha256').update(compiler().version)
  const files = (await Promise.all(sources.map((folder) => listed(tree, folder)))).flat()
  for (const file of [...settings, ...files]) {
    sum
      .update(file)
      .update('\0')
      .update(await readFile(join(tree, file)))
      .update('\0')
  }
  return sum.digest('hex').slice(0, 12)
}

async function listed(tree: string, folder: string): Promise<string[]> {
  const files = await readdir(join(tree, folder), { recursive: true })
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
async function compile(tree: string, folder: string): Promise<void> {
  const args = [compiler().path, '-p', join(tree, 'bench', 'tsconfig.build.json'), '--outDir', folder]
  const child = spawn(process.execPath, args, { cwd: tree, stdio: ['ignore', 'pipe', 'inherit'] })
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

/** By the tree's own rules: which calls are taken out belongs to its sources. */
async function stripFaultPoints(tree: string, folder: string): Promise<void> {
  const script = pathToFileURL(join(tree, 'scripts', 'strip-fault-points.mjs')).href
  const rules = (await import(script)) as { stripFaultPoints(folder: string): void }
  rules.stripFaultPoints(folder)
}

/** Under its name in one step: who finds a build finds all of it. */
async function keep(draft: string, folder: string): Promise<void> {
  await removeUnused(builds)
  try {
    await rename(draft, folder)
  } catch (error) {
    await rm(draft, { recursive: true, force: true })
    // Another run has built the same.
    if (!existsSync(folder)) throw error
  }
}

/** What nobody has used for a day, in a folder that is made if it is not there. */
export async function removeUnused(within: string): Promise<void> {
  await mkdir(within, { recursive: true })
  for (const name of await readdir(within)) {
    const folder = join(within, name)
    const { mtimeMs } = await stat(folder).catch(() => ({ mtimeMs: Date.now() }))
    if (Date.now() - mtimeMs > unusedForMs) await rm(folder, { recursive: true, force: true })
  }
}

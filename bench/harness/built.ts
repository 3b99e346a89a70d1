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
  /** Folder of the compiled processes. */
  readonly children: string
  /** Folder of the compiled library. */
  readonly library: string
  /** `undefined`: it was there already. */
  readonly tookMs?: number
}

/** The working tree. */
export const root = fileURLToPath(new URL('../../', import.meta.url))
const builds = join(root, '.lockstep', 'bench-build')
const sources = ['src', 'bench/children', 'bench/harness']
const settings = ['tsconfig.base.json', 'bench/tsconfig.build.json', 'scripts/strip-fault-points.mjs']
/** Script that puts the client's part of `centrifuge` into a build. Older trees have none: their client takes the package. */
const trimming = 'scripts/trim-centrifuge.mjs'
const unusedForMs = 24 * 3_600_000
const byTree = new Map<string, Promise<Build>>()

/**
 * Builds once for each process and tree. Runs that measure different sources at the same time do not meet: each build
 * has a folder
 * of its own. Another tree than the working one lies within it, since both find their packages in its node_modules.
 */
export function built(tree = root): Promise<Build> {
  const building = byTree.get(tree) ?? build(tree)
  byTree.set(tree, building)
  return building
}

/** Describes the build for the header of results. */
export const describeBuild = ({ id }: Build): string => `library as published, build ${id}`

async function build(tree: string): Promise<Build> {
  const began = performance.now()
  for (let attempt = 0; attempt < 3; attempt += 1) {
    const id = await checksum(tree)
    const folder = join(builds, id)
    if (existsSync(folder)) {
      // Touch the folder: builds in use count as new and are not removed.
      await utimes(folder, new Date(), new Date())
      return { id, ...foldersOf(folder) }
    }
    const draft = `${folder}.${process.pid}`
    await compile(tree, draft)
    await finish(tree, join(draft, 'src'))
    // Keep the build only if its checksum still holds: the tree may have changed while it was read.
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

/** Digests the contents, never times: a checkout of another commit may be older than the build. */
async function checksum(tree: string): Promise<string> {
  const sum = createHash('sha256').update(compiler().version)
  const files = (await Promise.all(sources.map((folder) => listed(tree, folder)))).flat()
  const scripts = existsSync(join(tree, trimming)) ? [...settings, trimming] : settings
  for (const file of [...scripts, ...files]) {
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

/** Finishes the library by the tree's own scripts, since its sources say which calls are taken out. */
async function finish(tree: string, folder: string): Promise<void> {
  const load = (script: string): Promise<unknown> => import(pathToFileURL(join(tree, script)).href)
  const rules = (await load('scripts/strip-fault-points.mjs')) as { stripFaultPoints(folder: string): void }
  rules.stripFaultPoints(folder)
  if (!existsSync(join(tree, trimming))) return
  const client = (await load(trimming)) as { putCentrifuge(clientFolder: string): void }
  client.putCentrifuge(join(folder, 'client'))
}

/** Moves the build to its name in one step: who finds a build finds all of it. */
async function keep(draft: string, folder: string): Promise<void> {
  await removeUnused(builds)
  try {
    await rename(draft, folder)
  } catch (error) {
    await rm(draft, { recursive: true, force: true })
    // Use the folder of another run, which has built the same.
    if (!existsSync(folder)) throw error
  }
}

/** Removes builds unused for a day from a folder, which is created if it is missing. */
export async function removeUnused(within: string): Promise<void> {
  await mkdir(within, { recursive: true })
  for (const name of await readdir(within)) {
    const folder = join(within, name)
    const { mtimeMs } = await stat(folder).catch(() => ({ mtimeMs: Date.now() }))
    if (Date.now() - mtimeMs > unusedForMs) await rm(folder, { recursive: true, force: true })
  }
}

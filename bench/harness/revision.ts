// The library of another revision, under the bench of the working tree.
import { execFileSync } from 'node:child_process'
import { cp, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { built, removeUnused, root, type Build } from './built.ts'
import { earlierIndex, indexBefore } from './earlier-door.ts'

export interface Revision {
  /** First digits of its commit. */
  readonly commit: string
  readonly build: Build
  /** The packages that it asks for are those that are installed. */
  readonly samePackages: boolean
}

/**
 * Checks the revision out into a temporary folder, replaces its bench by today's, and compiles it with its own options and
 * its own rules for fault points. The processes under test ask of `createLockstep` only what older revisions have too, but
 * for channels, which `earlier-door.ts` declares as those revisions do.
 * @throws when there is no such revision
 */
export async function buildRevision(revision: string): Promise<Revision> {
  const commit = git(['rev-parse', '--verify', '--quiet', '--short=12', `${revision}^{commit}`])
  if (commit === undefined) throw new Error(`There is no revision "${revision}" in this repository.`)
  const trees = join(root, '.lockstep', 'bench-revision')
  const tree = join(trees, `${commit}.${process.pid}`)
  // A run that was interrupted leaves its tree.
  await removeUnused(trees)
  try {
    await checkOut(commit, tree)
    const samePackages = (await lockOf(tree)) === (await lockOf(root))
    return { commit, build: await built(tree), samePackages }
  } finally {
    await rm(tree, { recursive: true, force: true })
  }
}

/** Checks out by an index of its own, so that neither the working tree nor a list of worktrees hears of it. */
async function checkOut(commit: string, tree: string): Promise<void> {
  await mkdir(tree, { recursive: true })
  const env = { ...process.env, GIT_INDEX_FILE: join(tree, '.index') }
  const done =
    git(['read-tree', commit], env) !== undefined &&
    git(['checkout-index', '--all', `--prefix=${tree}/`], env) !== undefined
  if (!done) throw new Error(`The revision ${commit} could not be checked out into ${tree}.`)
  await rm(join(tree, 'bench'), { recursive: true, force: true })
  await cp(join(root, 'bench'), join(tree, 'bench'), { recursive: true })
  await fitDoor(tree)
}

async function fitDoor(tree: string): Promise<void> {
  const index = join(tree, 'src', 'index.ts')
  if (!(await readFile(index, 'utf8')).includes('defineChannel')) return
  await rename(index, join(tree, earlierIndex))
  await writeFile(index, indexBefore)
}

const lockOf = (tree: string): Promise<string> => readFile(join(tree, 'package-lock.json'), 'utf8')

/** `undefined`: it failed, and has said why. */
function git(args: readonly string[], env = process.env): string | undefined {
  try {
    return execFileSync('git', args, {
      cwd: root,
      env,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'inherit'],
    }).trim()
  } catch {
    return undefined
  }
}

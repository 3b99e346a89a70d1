// A copy of the Postgres binaries in a shared temporary folder, which any user can read and only its maker can change.
import {
  chmodSync,
  constants,
  copyFileSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs'
import { dirname, join, relative } from 'node:path'

type CacheOptions = { readonly source: string; readonly base: string; readonly version: string }

/** The folder of a complete copy, made when needed; undefined when `base` is unsafe or cannot be written to. */
export function cachedCopy({ source, base, version }: CacheOptions): string | undefined {
  if (!isSafeBase(base)) return undefined
  const wanted = listFiles(source)
  const uid = process.geteuid?.() ?? 0
  const shared = join(base, `lockstep-postgres-${version}-${process.platform}-${process.arch}-${uid}`)
  if (isComplete(shared, wanted)) return join(shared, 'native')

  let draft: string
  try {
    draft = mkdtempSync(`${shared}-`)
  } catch {
    return undefined
  }
  try {
    copyFiles(source, join(draft, 'native'), wanted)
    chmodSync(draft, 0o755)
  } catch (error) {
    rmSync(draft, { recursive: true, force: true })
    if ((error as NodeJS.ErrnoException).code === 'ENOSPC') return undefined
    throw error
  }
  if (isOurs(shared)) {
    // A temp cleaner has eaten into it, or a copy was interrupted by a change of versions.
    const discarded = `${draft}-old`
    try {
      renameSync(shared, discarded)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    }
    rmSync(discarded, { recursive: true, force: true })
  }
  try {
    renameSync(draft, shared)
    return join(shared, 'native')
  } catch {
    if (!isComplete(shared, wanted)) {
      // Use the private copy, because another process holds the name; the system's temp cleaner removes the copy.
      return join(draft, 'native')
    }
    // Remove the draft: another process was quicker with the same copy.
    rmSync(draft, { recursive: true, force: true })
    return join(shared, 'native')
  }
}

// Refuses a base whose entries other users may rename: they could swap the folder for theirs after this check.
function isSafeBase(base: string): boolean {
  const entry = statSync(base, { throwIfNoEntry: false })
  if (!entry?.isDirectory()) return false
  const sticky = (entry.mode & 0o1000) !== 0
  return (entry.uid === 0 || entry.uid === process.geteuid?.()) && (sticky || (entry.mode & 0o022) === 0)
}

function isOurs(directory: string): boolean {
  const entry = lstatSync(directory, { throwIfNoEntry: false })
  return (
    entry !== undefined &&
    entry.isDirectory() &&
    entry.uid === process.geteuid?.() &&
    (entry.mode & 0o022) === 0
  )
}

function isComplete(directory: string, wanted: Map<string, number>): boolean {
  if (!isOurs(directory)) return false
  for (const [name, size] of wanted) {
    const entry = lstatSync(join(directory, 'native', name), { throwIfNoEntry: false })
    if (!entry?.isFile() || entry.size !== size) return false
  }
  return true
}

/** Sizes by relative path of the files the server needs: no links (made anew) and no static libraries. */
function listFiles(root: string): Map<string, number> {
  const files = new Map<string, number>()
  for (const entry of readdirSync(root, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || entry.name.endsWith('.a')) continue
    const path = join(entry.parentPath, entry.name)
    files.set(relative(root, path), statSync(path).size)
  }
  return files
}

// Modes are set, not kept: npm's umask may have closed the originals to the user who must run them.
function copyFiles(source: string, target: string, files: Map<string, number>): void {
  const made = new Set<string>()
  const makeDirectory = (directory: string): void => {
    if (made.has(directory)) return
    if (directory !== target) makeDirectory(dirname(directory))
    mkdirSync(directory)
    chmodSync(directory, 0o755)
    made.add(directory)
  }
  for (const name of files.keys()) {
    const path = join(target, name)
    makeDirectory(dirname(path))
    copyFileSync(join(source, name), path, constants.COPYFILE_FICLONE)
    chmodSync(path, name.startsWith('bin/') ? 0o755 : 0o644)
  }
}

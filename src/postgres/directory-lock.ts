import { closeSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { LockstepError } from '../core/index.ts'

interface Holder {
  readonly pid: number
  /** Start time of that process, so that another process with the same number is not taken for it. */
  readonly started: string
}

/**
 * Takes the lock file of a directory. A lock left by a process that died is taken over.
 * @returns a function that gives the lock back
 * @throws LS_DIRECTORY_LOCKED
 */
export function lockDirectory(directory: string): () => void {
  const path = join(directory, 'lockstep.lock')
  const mine = JSON.stringify({ pid: process.pid, started: startOf(process.pid) ?? '' } satisfies Holder)
  // Try twice: the first attempt may find a dead holder's file, and remove it.
  for (let attempt = 0; attempt < 2; attempt++) {
    if (tryCreate(path, mine)) return () => releaseOwn(path, mine)
    const holder = readHolder(path)
    if (holder !== undefined && isAlive(holder)) {
      throw new LockstepError('LS_DIRECTORY_LOCKED', {
        message: `${directory} is in use by process ${holder.pid}. Stop it, or choose another data directory.`,
        details: { directory, pid: holder.pid },
      })
    }
    removeStale(path)
  }
  throw new LockstepError('LS_DIRECTORY_LOCKED', {
    message: `${directory} was taken by another process at the same moment. Try again.`,
    details: { directory },
  })
}

function tryCreate(path: string, content: string): boolean {
  try {
    const file = openSync(path, 'wx', 0o600)
    writeSync(file, content)
    closeSync(file)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

// Renamed first: of two processes that find the same dead holder, only one gets the file, so neither can remove
// the new lock of the other.
function removeStale(path: string): void {
  const aside = `${path}.${process.pid}.stale`
  try {
    renameSync(path, aside)
    rmSync(aside, { force: true })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
}

function releaseOwn(path: string, mine: string): void {
  try {
    if (readFileSync(path, 'utf8') === mine) rmSync(path, { force: true })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
}

function readHolder(path: string): Holder | undefined {
  try {
    const value = JSON.parse(readFileSync(path, 'utf8')) as Partial<Holder>
    return typeof value.pid === 'number' && typeof value.started === 'string' ? (value as Holder) : undefined
  } catch {
    // Half written by a process that died, or gone again: nobody holds it.
    return undefined
  }
}

function isAlive(holder: Holder): boolean {
  try {
    process.kill(holder.pid, 0)
  } catch (error) {
    // EPERM: it lives, under another user.
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
  const started = startOf(holder.pid)
  return started === undefined || holder.started === '' || started === holder.started
}

/** Start time in clock ticks since boot, where the system tells it. Source: proc(5), field 22 of stat. */
function startOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]
  } catch {
    return undefined
  }
}

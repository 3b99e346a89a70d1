// Facts about processes from the operating system. A pid alone proves nothing: another process may have been given it.
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

const isLinux = process.platform === 'linux'
const pollMs = 10

/** A process, told apart from a later one with the same pid by the time it started. */
export type ProcessIdentity = { readonly pid: number; readonly startedAt: string }

/** The living process with this pid; undefined when there is none. A zombie counts as dead. */
export function identifyProcess(pid: number): ProcessIdentity | undefined {
  if (!Number.isSafeInteger(pid) || pid <= 0) return undefined
  const startedAt = isLinux ? linuxStartTime(pid) : otherStartTime(pid)
  return startedAt === undefined ? undefined : { pid, startedAt }
}

export function isRunning(process: ProcessIdentity): boolean {
  return identifyProcess(process.pid)?.startedAt === process.startedAt
}

/** Resolves to true once the process is gone, false when `timeoutMs` passed before that. */
export async function waitForEnd(process: ProcessIdentity, timeoutMs: number): Promise<boolean> {
  const deadline = performance.now() + timeoutMs
  while (isRunning(process)) {
    if (performance.now() > deadline) return false
    await sleep(pollMs)
  }
  return true
}

/** Sends a signal; a process that has just ended is not an error. */
export function signal(target: ProcessIdentity, name: NodeJS.Signals): void {
  if (!isRunning(target)) return
  try {
    process.kill(target.pid, name)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

/**
 * How the processes of one server are told from all others: by `cluster_name`, which stands in the command line of the
 * main process and in the titles of its children, and by their user, since anybody may write any command line. The
 * working directory would say it better, but root in a container may not read that of another user's process.
 */
export type ServerMark = { readonly clusterName: string; readonly uid: number }

export function isPostgresOf(pid: number, mark: ServerMark): boolean {
  try {
    if (!isLinux) {
      return Number(psField(pid, 'uid')) === mark.uid && psField(pid, 'command').includes(mark.clusterName)
    }
    return (
      statSync(`/proc/${pid}`).uid === mark.uid &&
      readFileSync(`/proc/${pid}/comm`, 'utf8').trim() === 'postgres' &&
      readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(mark.clusterName)
    )
  } catch {
    // Report no process: it has ended meanwhile.
    return false
  }
}

/** All processes of a server; Linux only, elsewhere empty. */
export function postgresProcessesOf(mark: ServerMark): ProcessIdentity[] {
  if (!isLinux) return []
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && isPostgresOf(Number(name), mark))
    .map((name) => identifyProcess(Number(name)))
    .filter((found) => found !== undefined)
}

function linuxStartTime(pid: number): string | undefined {
  let stat: string
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  } catch {
    return undefined
  }
  // The command name before the last ")" may itself hold spaces and brackets. Field 3 is the state, field 22 the start time.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19]
}

function otherStartTime(pid: number): string | undefined {
  try {
    if (psField(pid, 'stat').startsWith('Z')) return undefined
    return psField(pid, 'lstart') || undefined
  } catch {
    return undefined
  }
}

const psField = (pid: number, field: string): string =>
  execFileSync('ps', ['-o', `${field}=`, '-p', String(pid)], {
    encoding: 'utf8',
    env: { ...process.env, LC_ALL: 'C' },
    stdio: ['ignore', 'pipe', 'ignore'],
  }).trim()

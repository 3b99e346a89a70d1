// A run of the server process: find it, start it, end it. Knows the file postmaster.pid and the signals.
import { spawn } from 'node:child_process'
import {
  chmodSync,
  closeSync,
  fstatSync,
  openSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Binaries } from './binaries.ts'
import { dataDirectoryArgument, serverEnvironment, type DataDirectory } from './data-directory.ts'
import { EmbeddedPostgresError } from './embedded-postgres-error.ts'
import {
  identifyProcess,
  isPostgresOf,
  isRunning,
  postgresProcessesOf,
  signal,
  waitForEnd,
  type ProcessIdentity,
  type ServerMark,
} from './processes.ts'

const readyTimeoutMs = 60_000
const orphanGraceMs = 1_000
const fastShutdownMs = 30_000
const lastHolderMs = 15_000
const launchRetryMs = 100
const logRotationBytes = 16 * 1024 * 1024
const logTailLines = 15

export type Postmaster = { readonly process: ProcessIdentity; readonly port: number }
export type StopMode = 'fast' | 'immediate'

type LaunchOptions = {
  readonly directory: DataDirectory
  readonly binaries: Binaries
  readonly port: number
  readonly settings: Readonly<Record<string, string>>
}

/** The living server of a data directory, whoever started it; waits while it is starting or stopping. */
export async function findPostmaster(data: string): Promise<Postmaster | undefined> {
  const deadline = performance.now() + fastShutdownMs
  for (;;) {
    const file = readPidFile(data)
    const found = file && isPostgresOf(file.pid, serverMark(data)) ? identifyProcess(file.pid) : undefined
    if (!file || !found) return undefined
    if (file.ready || performance.now() > deadline) return { process: found, port: file.port }
    await sleep(20)
  }
}

/** Starts the server and waits until it accepts connections; undefined when the port is taken. */
export async function launchPostmaster(options: LaunchOptions): Promise<Postmaster | undefined> {
  const { data, log } = options.directory
  const deadline = performance.now() + lastHolderMs
  for (;;) {
    await endOrphans(data)
    disownPidFile(data)
    const attempt = await attemptLaunch(options)
    if (typeof attempt !== 'string') return attempt
    if (attempt.includes('could not bind')) return undefined
    // A child of the killed server that the kernel is tearing down has lost its marks, and holds the memory for moments yet.
    const held = attempt.includes('pre-existing shared memory block')
    if (!held || performance.now() > deadline) {
      throw new EmbeddedPostgresError(
        'failed',
        `Postgres did not start. The end of ${log}:\n${tail(attempt)}`,
      )
    }
    await sleep(launchRetryMs)
  }
}

/** The server, ready; or what it wrote into its log, when it did not come up. */
async function attemptLaunch(options: LaunchOptions): Promise<Postmaster | string> {
  const { directory, binaries, port, settings } = options
  const ownSettings = { cluster_name: serverMark(directory.data).clusterName, port: String(port) }
  const log = openLog(directory.log)
  const logStart = fstatSync(log).size
  const child = spawn(
    binaries.postgres,
    [
      '-D',
      dataDirectoryArgument(directory.data, directory.account),
      ...Object.entries({ ...settings, ...ownSettings }).flatMap(([name, value]) => [
        '-c',
        `${name}=${value}`,
      ]),
    ],
    {
      ...directory.account,
      cwd: directory.data,
      env: serverEnvironment(),
      stdio: ['ignore', log, log],
      // Ctrl-C in the terminal goes to the whole group; the server must outlive our own orderly shutdown.
      detached: true,
    },
  )
  closeSync(log)
  child.unref()
  const failed = new Promise<never>((_, reject) => child.once('error', reject))
  const ready = waitUntilReady(child.pid, directory.data)
  // End the server with this process until the caller has it: an exit before would leave it behind.
  const endWithUs = (): void => void child.kill('SIGINT')
  process.once('exit', endWithUs)
  const launched = await Promise.race([failed, ready]).finally(() => process.off('exit', endWithUs))
  return launched ? { process: launched, port } : readFileSync(directory.log).subarray(logStart).toString()
}

/** Ends the server; a fast stop that takes longer than 30 s becomes an immediate one. */
export async function stopPostmaster(server: Postmaster, mode: StopMode): Promise<void> {
  if (mode === 'fast') {
    signal(server.process, 'SIGINT')
    if (await waitForEnd(server.process, fastShutdownMs)) return
  }
  await endUnresponsive(server)
}

/** Ends a server that may be stopped or stuck; takes at most a few seconds. */
export async function endUnresponsive(server: Postmaster): Promise<void> {
  signal(server.process, 'SIGQUIT')
  // A process halted by SIGSTOP sees no signal until it is continued.
  signal(server.process, 'SIGCONT')
  if (await waitForEnd(server.process, 2_000)) return
  await killPostmaster(server)
}

/** SIGKILL, as the kernel's out-of-memory killer would; the server recovers at its next start. */
export async function killPostmaster(server: Postmaster): Promise<void> {
  signal(server.process, 'SIGKILL')
  if (!(await waitForEnd(server.process, 10_000))) {
    throw new EmbeddedPostgresError('failed', `Postgres process ${server.process.pid} does not die`)
  }
}

// The inode, not a stored name: a copy of the folder must not be taken for the original.
function serverMark(data: string): ServerMark {
  const { dev, ino, uid } = statSync(data)
  return { clusterName: `lockstep-${dev.toString(36)}-${ino.toString(36)}`, uid }
}

async function waitUntilReady(pid: number | undefined, data: string): Promise<ProcessIdentity | undefined> {
  const started = pid === undefined ? undefined : identifyProcess(pid)
  if (started === undefined) return undefined
  const deadline = performance.now() + readyTimeoutMs
  while (isRunning(started)) {
    const file = readPidFile(data)
    if (file?.pid === pid && file?.ready) return started
    if (performance.now() > deadline) {
      await endUnresponsive({ process: started, port: 0 })
      return undefined
    }
    await sleep(5)
  }
  return undefined
}

// A killed server's children notice within moments, but a busy one may write on until its query ends. Postgres refuses
// to start beside it; the crash recovery that follows covers a child that is killed now.
async function endOrphans(data: string): Promise<void> {
  const orphans = postgresProcessesOf(serverMark(data))
  await Promise.all(
    orphans.map(async (orphan) => {
      if (await waitForEnd(orphan, orphanGraceMs)) return
      signal(orphan, 'SIGKILL')
      await waitForEnd(orphan, orphanGraceMs)
    }),
  )
}

// Postgres takes a stale postmaster.pid over unless a process of that number is alive: one that got the number later, or
// the dead server's zombie. It always takes over a file that names its parent, so name us. Removing the file instead
// would also remove its guard against living children of the dead server.
function disownPidFile(data: string): void {
  const path = join(data, 'postmaster.pid')
  const file = readPidFile(data)
  if (file) writeFileSync(path, readFileSync(path, 'utf8').replace(/^.*/, String(process.pid)))
}

/** postmaster.pid: pid, data directory, start time, port, socket directory, address, shared memory key, status. */
function readPidFile(data: string): { pid: number; port: number; ready: boolean } | undefined {
  let lines: string[]
  try {
    lines = readFileSync(join(data, 'postmaster.pid'), 'utf8').split('\n')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
  return { pid: Number(lines[0]), port: Number(lines[3]), ready: isServing(lines[7]?.trim()) }
}

/** A standby serves reads, and says `standby` for as long as it is one. */
const isServing = (status: string | undefined): boolean => status === 'ready' || status === 'standby'

function openLog(path: string): number {
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0
  if (size > logRotationBytes) renameSync(path, `${path}.1`)
  const descriptor = openSync(path, 'a', 0o600)
  chmodSync(path, 0o600)
  return descriptor
}

const tail = (output: string): string => output.trimEnd().split('\n').slice(-logTailLines).join('\n')

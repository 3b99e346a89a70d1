// Finds the Postgres binaries that npm installed and makes them runnable for the user the server runs as.
import { spawnSync } from 'node:child_process'
import { lstatSync, readFileSync, symlinkSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import type { ServerAccount } from './account.ts'
import { cachedCopy } from './binary-cache.ts'
import { EmbeddedPostgresError } from './embedded-postgres-error.ts'

export type Binaries = {
  readonly postgres: string
  readonly initdb: string
  /** Version, such as `18.4`. */
  readonly version: string
  readonly majorVersion: number
}

type Package = { readonly name: string; readonly native: string; readonly version: string }

/** Returns binaries that were seen to run; throws `unavailable` when none do. */
export function prepareBinaries(account: ServerAccount): Binaries {
  const installed = locatePackage()
  const failures: string[] = []
  for (const native of runnableDirectories(installed, account)) {
    const directory = native()
    if (directory === undefined) continue
    const outcome = tryBinaries(directory, account)
    if (typeof outcome !== 'string') return outcome
    failures.push(outcome)
  }
  const reason = failures.at(-1) ?? 'no folder for them that only we can write to'
  throw new EmbeddedPostgresError(
    'unavailable',
    `the Postgres binaries of ${installed.name} cannot run here: ${reason}`,
  )
}

// Root hands the server to another user, who may be unable to enter the project's folder (under /root, say): give that
// user a copy. An ordinary user needs one only when node_modules lacks the library links and is not ours to write to.
function* runnableDirectories(
  installed: Package,
  account: ServerAccount,
): Generator<() => string | undefined> {
  if (!account) yield () => (linkLibraries(installed.native) ? installed.native : undefined)
  for (const base of new Set([tmpdir(), '/var/tmp'])) {
    yield () => {
      const copy = cachedCopy({ source: installed.native, base, version: installed.version })
      return copy !== undefined && linkLibraries(copy) ? copy : undefined
    }
  }
}

function locatePackage(): Package {
  const name = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`
  // Stopping and crashing the server is done with signals, which Windows does not have.
  if (process.platform === 'win32') {
    throw new EmbeddedPostgresError('unavailable', 'the embedded Postgres is not supported on Windows')
  }
  try {
    // The platform package is a dependency of embedded-postgres, not of ours: ask from there.
    const fromHere = createRequire(import.meta.url)
    const fromParent = createRequire(fromHere.resolve('embedded-postgres'))
    const root = dirname(dirname(fromParent.resolve(name)))
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }
    return { name, native: join(root, 'native'), version }
  } catch (cause) {
    throw new EmbeddedPostgresError('unavailable', `the npm package ${name} is not installed`, { cause })
  }
}

/**
 * Makes the shared-library links that npm packages cannot carry (the package would make them in an install script).
 * False when the folder may not be written to.
 */
function linkLibraries(native: string): boolean {
  let list: string
  try {
    list = readFileSync(join(native, 'pg-symlinks.json'), 'utf8')
  } catch (error) {
    // Packages for platforms that need no links have no list.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return true
    throw error
  }
  for (const { source, target } of JSON.parse(list) as { source: string; target: string }[]) {
    const link = join(dirname(native), target)
    if (lstatSync(link, { throwIfNoEntry: false })) continue
    try {
      symlinkSync(basename(source), link)
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code
      if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') return false
      // Accept a link that another process made at the same time.
      if (code !== 'EEXIST') throw error
    }
  }
  return true
}

function tryBinaries(native: string, account: ServerAccount): Binaries | string {
  const postgres = join(native, 'bin', 'postgres')
  const run = spawnSync(postgres, ['-V'], {
    ...account,
    cwd: '/',
    env: {},
    encoding: 'utf8',
    timeout: 10_000,
  })
  if (run.error) return describeSpawnError(run.error)
  const version = /(\d+)(?:\.\d+)*/.exec(run.stdout)
  if (run.status !== 0 || !version?.[1]) return `exit code ${run.status ?? run.signal}: ${run.stderr.trim()}`
  return {
    postgres,
    initdb: join(native, 'bin', 'initdb'),
    version: version[0],
    majorVersion: Number(version[1]),
  }
}

function describeSpawnError(error: NodeJS.ErrnoException): string {
  // The file is there: it is the program loader named inside it that is missing.
  if (error.code === 'ENOENT') return 'this system has no GNU C library (Alpine Linux, for example)'
  if (error.code === 'EPERM' || error.code === 'EINVAL')
    return `may not switch to another user (${error.code})`
  return error.message
}

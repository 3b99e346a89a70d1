// The data directory: made once by initdb, checked on every start, and named so that the server can reach it.
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  closeSync,
  chownSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import type { ServerAccount } from './account.ts'
import type { Binaries } from './binaries.ts'
import { EmbeddedPostgresError } from './embedded-postgres-error.ts'

/** The superuser of every embedded server. */
export const superuser = 'postgres'

export type DataDirectory = {
  /** Absolute path of the folder that holds everything: data, password, log, owner. */
  readonly root: string
  readonly data: string
  readonly log: string
  readonly password: string
  readonly account: ServerAccount
}

type DataDirectoryOptions = {
  readonly root: string
  readonly account: ServerAccount
  readonly binaries: Binaries
  readonly durable: boolean
  readonly log: (line: string) => void
}

/**
 * Path to give Postgres as `-D` when it is started with the data directory as its working directory. Another user than
 * ours may be barred from a folder above it; the link in /proc leads there without walking the path.
 */
export const dataDirectoryArgument = (data: string, account: ServerAccount): string =>
  account && process.platform === 'linux' ? '/proc/self/cwd' : data

/** Environment of the server, with the search path alone: odd LC_*, PG* and TZ values must not reach it. */
export const serverEnvironment = (): NodeJS.ProcessEnv => ({
  PATH: process.env['PATH'],
  LC_ALL: 'C',
  TZ: 'UTC',
})

/** Opens the data directory under `root`, creating it when there is none. The caller owns the root. */
export async function openDataDirectory(options: DataDirectoryOptions): Promise<DataDirectory> {
  const { root, account, binaries } = options
  const data = join(root, 'data')
  if (statSync(data, { throwIfNoEntry: false })) {
    requireMajorVersion(data, binaries)
  } else {
    await createDataDirectory(data, options)
  }
  const password = readFileSync(join(root, 'password'), 'utf8').trim()
  return { root, data, log: join(root, 'server.log'), password, account }
}

function requireMajorVersion(data: string, binaries: Binaries): void {
  const version = readFileSync(join(data, 'PG_VERSION'), 'utf8').trim()
  if (Number(version) === binaries.majorVersion) return
  throw new EmbeddedPostgresError(
    'other_major_version',
    `${data} was made by Postgres ${version}, and the installed one is ${binaries.version}. Keep what you need with pg_dump of ` +
      `version ${version}, then remove the folder, or use another directory.`,
  )
}

async function createDataDirectory(data: string, options: DataDirectoryOptions): Promise<void> {
  const { root, account, log } = options
  log(`creating a Postgres ${options.binaries.version} database in ${root}`)
  for (const leftover of readdirSync(root).filter((name) => name.startsWith('data-draft-'))) {
    rmSync(join(root, leftover), { recursive: true, force: true, maxRetries: 3 })
  }
  // Build beside the final name: a start killed half-way must not leave a folder that looks like a database.
  const draft = join(root, `data-draft-${randomBytes(4).toString('hex')}`)
  const passwordFile = join(root, 'password')
  rmSync(passwordFile, { force: true })
  writeFileSync(passwordFile, `${randomBytes(24).toString('hex')}\n`, { flag: 'wx', mode: 0o600 })
  mkdirSync(draft, { mode: 0o700 })
  if (account) giveTo(account, [draft, passwordFile])
  await runInitdb({ ...options, draft, passwordFile })
  renameSync(draft, data)
}

function giveTo(account: NonNullable<ServerAccount>, paths: string[]): void {
  for (const path of paths) {
    try {
      chownSync(path, account.uid, account.gid)
    } catch (cause) {
      throw ownerRefused(path, cause)
    }
    // Check the result: shared folders of some virtual machines accept the call and ignore it.
    if (statSync(path).uid !== account.uid) throw ownerRefused(path)
  }
}

const ownerRefused = (path: string, cause?: unknown): EmbeddedPostgresError =>
  new EmbeddedPostgresError(
    'unavailable',
    `Postgres refuses to run as root, and the file system of ${path} does not let us give the data to another user.`,
    { cause },
  )

async function runInitdb(
  options: DataDirectoryOptions & { readonly draft: string; readonly passwordFile: string },
): Promise<void> {
  const { account, binaries, draft, durable } = options
  // Hand the password over as an open file, since its path may be closed to the account.
  const passwordDescriptor = openSync(options.passwordFile, 'r')
  try {
    const initdb = spawn(
      binaries.initdb,
      [
        `--pgdata=${dataDirectoryArgument(draft, account)}`,
        `--username=${superuser}`,
        '--pwfile=/dev/fd/3',
        '--auth=scram-sha-256',
        '--encoding=UTF8',
        '--locale=C',
        '--locale-provider=builtin',
        '--builtin-locale=C.UTF-8',
        ...(durable ? [] : ['--no-sync']),
      ],
      {
        ...account,
        cwd: draft,
        env: serverEnvironment(),
        stdio: ['ignore', 'pipe', 'pipe', passwordDescriptor],
      },
    )
    const exit = new Promise<number | null>((resolve, reject) => {
      initdb.once('error', reject)
      initdb.once('close', resolve)
    })
    const [code, output, errors] = await Promise.all([exit, textOf(initdb.stdout), textOf(initdb.stderr)])
    if (code !== 0) {
      throw new EmbeddedPostgresError('failed', `initdb failed (exit code ${code}):\n${output}${errors}`)
    }
  } catch (error) {
    rmSync(draft, { recursive: true, force: true })
    throw error
  } finally {
    closeSync(passwordDescriptor)
  }
}

/** Text that a child process wrote to one of its pipes. */
function textOf(stream: Readable | null): Promise<string> {
  return stream === null ? Promise.resolve('') : text(stream)
}

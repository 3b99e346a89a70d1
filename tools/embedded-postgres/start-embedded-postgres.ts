// A real Postgres of our own, for the demo and the tests. Knows when to start, adopt and end the server of a directory;
// how each of these is done stands in the files beside it.
import { createHash } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { chooseServerAccount } from './account.ts'
import { prepareBinaries, type Binaries } from './binaries.ts'
import { openDataDirectory, superuser, type DataDirectory } from './data-directory.ts'
import { createDatabase, dropDatabase, withClient } from './databases.ts'
import { EmbeddedPostgresError } from './embedded-postgres-error.ts'
import { claimOwnership, isAbandoned, type Ownership } from './ownership.ts'
import { pickFreePort } from './port.ts'
import {
  endUnresponsive,
  findPostmaster,
  killPostmaster,
  launchPostmaster,
  stopPostmaster,
  type Postmaster,
  type StopMode,
} from './postmaster.ts'
import { isRunning, signal } from './processes.ts'

const portAttempts = 5
const portRetryMs = 200
const settingsMark = 'lockstep.embedded_settings'

export type EmbeddedPostgresOptions = {
  /** Folder that holds the data, the password and `server.log`; created when missing. */
  readonly directory: string
  /** Receives one line for each step that takes noticeable time. */
  readonly log?: (line: string) => void
  /** False trades safety against a crash of the machine (not of Postgres) for speed. Default true. */
  readonly durable?: boolean
  /** Default 200. */
  readonly maxConnections?: number
}

export interface EmbeddedPostgres {
  /** `postgres://` URL of the superuser on the database `postgres`. */
  readonly url: string
  readonly port: number
  /** Process id of the server's main process. */
  readonly pid: number
  readonly directory: string
  /** Ends the server and gives the directory up; `immediate` skips the checkpoint and makes the next start recover. */
  stop(mode?: StopMode): Promise<void>
  /** Starts the server on the same port, after a fast stop when it still runs. */
  restart(): Promise<void>
  /** Kills the server with SIGKILL and keeps the directory; `restart()` brings it back. */
  kill(): Promise<void>
  createDatabase(name: string, options?: { readonly template?: string }): Promise<void>
  dropDatabase(name: string): Promise<void>
}

/**
 * Starts a Postgres server on 127.0.0.1 over `directory`, or adopts the one that a killed process left running there.
 * A directory has one owning process at a time: throws {@link EmbeddedPostgresError} `in_use` while another one lives.
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const root = resolve(options.directory)
  const account = chooseServerAccount(resolve(root, 'data'))
  const binaries = prepareBinaries(account)
  const ownership = own(root)
  try {
    const durable = options.durable ?? true
    const log = options.log ?? (() => {})
    const directory = await openDataDirectory({ root, account, binaries, durable, log })
    const settings = serverSettings(binaries, durable, options.maxConnections ?? 200)
    const server = new OwnedServer({ directory, binaries, settings, log }, ownership)
    await server.open()
    return server
  } catch (error) {
    ownership.release()
    throw error
  }
}

/**
 * Ends what a process that died as owner of `directory` left running, and says whether there was such an owner: false
 * for a directory whose owner lives, or has given it up in good order and may come back to it.
 */
export async function endAbandonedPostgres(directory: string): Promise<boolean> {
  const root = resolve(directory)
  if (!isAbandoned(root)) return false
  let ownership: Ownership
  try {
    ownership = own(root)
  } catch (error) {
    if (error instanceof EmbeddedPostgresError && error.code === 'in_use') return false
    throw error
  }
  try {
    const found = await findPostmaster(resolve(root, 'data'))
    if (found) await endUnresponsive(found)
    return true
  } finally {
    ownership.release()
  }
}

function own(root: string): Ownership {
  try {
    mkdirSync(root, { recursive: true, mode: 0o700 })
    return claimOwnership(root)
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EACCES') throw cause
    throw new EmbeddedPostgresError('not_permitted', `${root} may not be written to by this user`, { cause })
  }
}

function serverSettings(
  binaries: Binaries,
  durable: boolean,
  maxConnections: number,
): Record<string, string> {
  const settings: Record<string, string> = {
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    max_connections: String(maxConnections),
    shared_buffers: '128MB',
    wal_level: 'logical',
    ...(durable ? {} : { fsync: 'off', full_page_writes: 'off' }),
  }
  // Lets the next owner recognise a server that was left running with just these settings.
  const mark = createHash('sha256')
    .update(JSON.stringify([settings, binaries]))
    .digest('hex')
  return { ...settings, [settingsMark]: mark.slice(0, 16) }
}

type ServerParts = {
  readonly directory: DataDirectory
  readonly binaries: Binaries
  readonly settings: Readonly<Record<string, string>>
  readonly log: (line: string) => void
}

class OwnedServer implements EmbeddedPostgres {
  readonly #parts: ServerParts
  #ownership: Ownership | undefined
  #postmaster: Postmaster | undefined
  #tail: Promise<unknown> = Promise.resolve()

  constructor(parts: ServerParts, ownership: Ownership) {
    this.#parts = parts
    this.#ownership = ownership
  }

  get url(): string {
    return `postgres://${superuser}:${this.#parts.directory.password}@127.0.0.1:${this.port}/postgres`
  }

  get port(): number {
    return this.#current.port
  }

  get pid(): number {
    return this.#current.process.pid
  }

  get directory(): string {
    return this.#parts.directory.root
  }

  get #current(): Postmaster {
    if (!this.#postmaster) throw new Error('the embedded Postgres was never started')
    return this.#postmaster
  }

  async open(): Promise<void> {
    this.#postmaster = (await this.#adopt()) ?? (await this.#launch())
    process.once('exit', this.#onExit)
  }

  stop(mode: StopMode = 'fast'): Promise<void> {
    return this.#inTurn(async () => {
      await stopPostmaster(this.#current, mode)
      process.off('exit', this.#onExit)
      this.#ownership?.release()
      this.#ownership = undefined
    })
  }

  restart(): Promise<void> {
    return this.#inTurn(async () => {
      this.#ownership ??= own(this.directory)
      await stopPostmaster(this.#current, 'fast')
      this.#postmaster = await this.#launch(this.port)
      process.off('exit', this.#onExit)
      process.once('exit', this.#onExit)
    })
  }

  kill(): Promise<void> {
    return this.#inTurn(() => killPostmaster(this.#current))
  }

  createDatabase(name: string, options?: { readonly template?: string }): Promise<void> {
    return createDatabase(this.url, name, options)
  }

  dropDatabase(name: string): Promise<void> {
    return dropDatabase(this.url, name)
  }

  // The last chance of a process that ends without stop(); after SIGKILL the next start adopts the server.
  readonly #onExit = (): void => signal(this.#current.process, 'SIGINT')

  #inTurn<T>(task: () => Promise<T>): Promise<T> {
    const turn = this.#tail.then(task)
    this.#tail = turn.catch(() => {})
    return turn
  }

  async #adopt(): Promise<Postmaster | undefined> {
    const { directory, settings, log } = this.#parts
    const found = await findPostmaster(directory.data)
    if (!found) return undefined
    const url = `postgres://${superuser}:${directory.password}@127.0.0.1:${found.port}/postgres`
    const answer = await withClient(url, async (client) => {
      const { rows } = await client.query('select current_setting($1, true) as mark', [settingsMark])
      return rows[0].mark === settings[settingsMark] ? ('ours' as const) : ('other settings' as const)
    }).catch(() => 'no answer' as const)
    if (answer === 'ours' && isRunning(found.process)) {
      log(`using the Postgres that an earlier run left behind (process ${found.process.pid})`)
      return found
    }
    log(`ending the Postgres that an earlier run left behind (process ${found.process.pid}, ${answer})`)
    await (answer === 'other settings' ? stopPostmaster(found, 'fast') : endUnresponsive(found))
    return undefined
  }

  async #launch(fixedPort?: number): Promise<Postmaster> {
    const { directory, binaries, settings } = this.#parts
    for (let attempt = 0; attempt < portAttempts; attempt++) {
      const port = fixedPort ?? (await pickFreePort())
      const launched = await launchPostmaster({ directory, binaries, settings, port })
      if (launched) return launched
      if (fixedPort !== undefined) await sleep(portRetryMs)
    }
    const which = fixedPort === undefined ? 'every port that was tried' : `port ${fixedPort}`
    throw new EmbeddedPostgresError('failed', `${which} of 127.0.0.1 is taken by another program`)
  }
}

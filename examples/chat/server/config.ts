import { randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'

/** Settings that a person can change from outside. */
export interface Config {
  readonly host: string
  readonly port: number
  /** Names by which it is reached, besides those that it knows by itself. */
  readonly allowedHosts: readonly string[]
  readonly dataDirectory: string
  /** A Postgres that exists already. */
  readonly databaseUrl: string | undefined
  readonly pglite: boolean
  readonly secret: string
}

/** A wrong setting, in words for the one who set it. */
export class ConfigError extends Error {}

/** Bytes. A shorter one from outside is taken, for trials, and said. */
export const shortestSecret = 32

/** @throws ConfigError */
export function readConfig(argv: readonly string[], env: NodeJS.ProcessEnv): Config {
  const { pglite } = readFlags(argv)
  const dataDirectory = resolve(env['LOCKSTEP_DATA_DIR'] || '.lockstep')
  mkdirSync(dataDirectory, { recursive: true, mode: 0o755 })
  return {
    host: env['HOST'] || '127.0.0.1',
    port: readPort(env['PORT']),
    allowedHosts: (env['ALLOWED_HOSTS'] ?? '').split(',').filter((name) => name !== ''),
    dataDirectory,
    databaseUrl: env['DATABASE_URL'] || undefined,
    pglite,
    secret: env['LOCKSTEP_SECRET'] || ownSecret(dataDirectory),
  }
}

function readFlags(argv: readonly string[]): { readonly pglite: boolean } {
  try {
    const { values } = parseArgs({
      args: [...argv],
      options: { pglite: { type: 'boolean', default: false } },
    })
    return values
  } catch (error) {
    throw new ConfigError(`${(error as Error).message}. The only flag is --pglite.`, { cause: error })
  }
}

function readPort(text: string | undefined): number {
  const port = Number(text || 4370)
  if (Number.isInteger(port) && port >= 0 && port <= 65_535) return port
  throw new ConfigError(`PORT is "${text}"; it must be a number from 0 to 65535.`)
}

/** Makes the secret once and keeps it, so that tokens and sessions survive a restart. */
function ownSecret(dataDirectory: string): string {
  const file = join(dataDirectory, 'secret')
  try {
    // `wx` makes the first of two processes that start together win, and the other read.
    writeFileSync(file, randomBytes(32).toString('base64url'), { mode: 0o600, flag: 'wx' })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
  const secret = readFileSync(file, 'utf8').trim()
  if (secret.length >= shortestSecret) return secret
  throw new ConfigError(`${file} is too short to be a secret. Delete it, and a new one is made.`)
}

import { readFileSync } from 'node:fs'
import { cpus, loadavg, platform, release, totalmem } from 'node:os'
import { execFileSync } from 'node:child_process'
import { createRequire } from 'node:module'

/** The machine and the versions behind a figure. */
export interface Machine {
  readonly processor: string
  readonly cores: number
  readonly memoryGiB: number
  readonly system: string
  /** Load averages over one, five and fifteen minutes before the run began. */
  readonly load: readonly number[]
  readonly commit: string
  readonly versions: Readonly<Record<string, string>>
}

const require = createRequire(import.meta.url)

export function describeMachine(postgresVersion: string | undefined): Machine {
  const centrifugo = centrifugoBinary()
  const packages = ['pg', 'ws', 'centrifuge', 'socket.io', '@socket.io/postgres-adapter']
  return {
    processor: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    system: `${platform()} ${release()}`,
    load: loadavg().map((value) => Math.round(value * 100) / 100),
    commit: commit(),
    versions: {
      node: process.versions.node,
      ...(postgresVersion === undefined ? {} : { postgres: postgresVersion }),
      ...Object.fromEntries(packages.map((name) => [name, packageVersion(name)])),
      ...(centrifugo === undefined ? {} : { centrifugo: output(centrifugo, ['version']) }),
    },
  }
}

/** Path of the binary, given by whoever runs the bench: Centrifugo is not a package of npm. */
export function centrifugoBinary(): string | undefined {
  return process.env['CENTRIFUGO_BIN'] || undefined
}

function packageVersion(name: string): string {
  // Resolve the entry rather than `<name>/package.json`, which a package's exports need not name.
  const entry = require.resolve(name)
  const folder = entry.slice(0, entry.lastIndexOf(`/node_modules/${name}/`) + `/node_modules/${name}/`.length)
  return (JSON.parse(readFileSync(`${folder}package.json`, 'utf8')) as { version: string }).version
}

function commit(): string {
  return output('git', ['rev-parse', '--short', 'HEAD'])
}

function output(program: string, args: readonly string[]): string {
  try {
    return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
  } catch {
    return 'unknown'
  }
}

// Centrifugo as a peer, where CENTRIFUGO_BIN names its binary (6.8 or later for the stream broker, on Postgres 16 or later).
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { rmSync } from 'node:fs'
import { mkdtemp, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { pickFreePort } from '../../tools/embedded-postgres/port.ts'
import { centrifugoBinary } from './machine.ts'

/**
 * `memory`: no database, and what is published over HTTP stays in the one process. `outbox`: reads a table; more than one
 * node needs Redis, or only those subscribers hear a message whose node has read it. `stream`: each node reads the stream.
 */
export type CentrifugoOptions =
  | { readonly mode: 'memory' }
  | { readonly mode: 'outbox'; readonly databaseUrl: string; readonly redisPort?: number | undefined }
  | { readonly mode: 'stream'; readonly databaseUrl: string }

export interface Centrifugo {
  readonly port: number
  readonly pid: number
  /** Key of its HTTP API. */
  readonly apiKey: string
  close(): Promise<void>
}

/** @see https://centrifugal.dev/docs/server/consumers for the table, and for the trigger that saves it polling */
export const centrifugoOutboxSchema = `
  create table centrifugo_outbox (id bigserial primary key, method text not null, payload jsonb not null,
    partition integer not null default 0, created_at timestamptz not null default now());
  create function centrifugo_notify() returns trigger language plpgsql as $$
    begin perform pg_notify('centrifugo_partition_change', new.partition::text); return new; end $$;
  create trigger centrifugo_notify after insert on centrifugo_outbox
    for each row execute function centrifugo_notify();`

/** @throws when the binary does not accept connections within 10 s, or has ended; its output stands in the message */
export async function startCentrifugo(options: CentrifugoOptions): Promise<Centrifugo> {
  const folder = await mkdtemp(join(tmpdir(), 'lockstep-bench-centrifugo-'))
  const port = await pickFreePort()
  const apiKey = randomBytes(16).toString('hex')
  const file = join(folder, 'config.json')
  await writeFile(file, JSON.stringify(configOf(options, port, apiKey)))
  const child = spawn(centrifugoBinary() ?? '', ['--config', file], { stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  child.once('error', (error) => (output += error.message))
  // Resolves also when it could not be started, after its output has been read.
  const closed = new Promise((resolve) => child.once('close', resolve))
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (text: Buffer) => (output += text.toString()))
  // Count a process without a pid as never begun.
  const isAlive = (): boolean =>
    child.pid !== undefined && child.exitCode === null && child.signalCode === null
  const remove = (): void => rmSync(folder, { recursive: true, force: true })
  const onExit = (): void => {
    child.kill('SIGKILL')
    remove()
  }
  process.once('exit', onExit)
  const close = async (): Promise<void> => {
    process.off('exit', onExit)
    if (isAlive()) {
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
    remove()
  }
  for (let attempt = 0; attempt < 200 && isAlive(); attempt += 1) {
    if (await accepts(port)) return { port, pid: child.pid ?? 0, apiKey, close }
    await pause(50)
  }
  await close()
  await closed
  throw new Error(`Centrifugo did not start:\n${output}`)
}

/** @see https://centrifugal.dev/docs/server/configuration, and engines and consumers beside it */
function configOf(options: CentrifugoOptions, port: number, apiKey: string): object {
  return {
    http_server: { address: '127.0.0.1', port: String(port) },
    http_api: { key: apiKey },
    client: { allowed_origins: ['*'], insecure: true },
    channel: {
      namespaces: [
        {
          name: 'room',
          history_size: 1_000,
          history_ttl: '1h',
          force_recovery: true,
          allow_subscribe_for_client: true,
        },
      ],
    },
    // Turn off the reports that Centrifugo sends to its makers by default.
    usage_stats: { disabled: true },
    ...sourceOf(options),
  }
}

/** Source of the messages. The default is an engine in memory, and HTTP. */
function sourceOf(options: CentrifugoOptions): object {
  if (options.mode === 'memory') return {}
  const dsn = `${options.databaseUrl}?sslmode=disable`
  if (options.mode === 'stream')
    return { broker: { enabled: true, type: 'postgres', postgres: { dsn, use_notify: true } } }
  const { redisPort } = options
  const postgresql = {
    dsn,
    outbox_table_name: 'centrifugo_outbox',
    partition_notification_channel: 'centrifugo_partition_change',
  }
  return {
    consumers: [{ name: 'outbox', enabled: true, type: 'postgresql', postgresql }],
    ...(redisPort === undefined
      ? {}
      : { engine: { type: 'redis', redis: { address: `127.0.0.1:${redisPort}` } } }),
  }
}

async function accepts(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}

// Centrifugo as a peer, where CENTRIFUGO_BIN names its binary (6.8 or later for the stream broker, on Postgres 16 or later).
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { pickFreePort } from '../../tools/embedded-postgres/port.ts'
import { centrifugoBinary } from './machine.ts'

export type CentrifugoMode = 'outbox' | 'stream'

export interface Centrifugo {
  readonly port: number
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

/** @throws when the binary does not accept connections within 10 s; its output stands in the message */
export async function startCentrifugo(databaseUrl: string, mode: CentrifugoMode): Promise<Centrifugo> {
  const folder = await mkdtemp(join(tmpdir(), 'lockstep-bench-centrifugo-'))
  const port = await pickFreePort()
  const file = join(folder, 'config.json')
  await writeFile(file, JSON.stringify(configOf(`${databaseUrl}?sslmode=disable`, mode, port)))
  const child = spawn(centrifugoBinary() ?? '', ['--config', file], { stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (text: Buffer) => (output += text.toString()))
  const onExit = (): void => void child.kill('SIGKILL')
  process.once('exit', onExit)
  const close = async (): Promise<void> => {
    process.off('exit', onExit)
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
    await rm(folder, { recursive: true, force: true })
  }
  for (let attempt = 0; attempt < 200; attempt += 1) {
    if (await accepts(port)) return { port, close }
    await pause(50)
  }
  await close()
  throw new Error(`Centrifugo did not start:\n${output}`)
}

function configOf(dsn: string, mode: CentrifugoMode, port: number): object {
  const consumer = {
    name: 'outbox',
    enabled: true,
    type: 'postgresql',
    postgresql: {
      dsn,
      outbox_table_name: 'centrifugo_outbox',
      partition_notification_channel: 'centrifugo_partition_change',
    },
  }
  return {
    http_server: { address: '127.0.0.1', port: String(port) },
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
    ...(mode === 'outbox'
      ? { consumers: [consumer] }
      : { broker: { enabled: true, type: 'postgres', postgres: { dsn, use_notify: true } } }),
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

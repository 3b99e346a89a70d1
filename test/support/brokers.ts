// Real brokers on free ports, with folders of their own. They come from the system's packages: see .ci/run.
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, constants } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { pickFreePort } from '../../tools/embedded-postgres/port.ts'

export interface Broker {
  readonly port: number
  /** Kills the broker by SIGKILL: everything it held is gone. */
  kill(): Promise<void>
  /** Halts the broker by SIGSTOP until SIGCONT: connections stay open, and no byte comes. */
  stall(): void
  resume(): void
  /** Starts the broker again on the same port, empty. Does nothing while it lives. */
  start(): Promise<void>
  close(): Promise<void>
}

/** Path of the program; undefined when it is not installed, which CI does not forgive. */
function find(program: string): string | undefined {
  for (const folder of [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin']) {
    const path = join(folder, program)
    try {
      accessSync(path, constants.X_OK)
      return path
    } catch {
      // The program is not in this folder.
    }
  }
  if (process.env['CI'] === 'true') throw new Error(`${program} is not installed`)
  return undefined
}

/**
 * Reason why tests that need the program are skipped; undefined when it is installed.
 * @throws in CI when it is not installed
 */
export function missing(program: 'redis-server' | 'nats-server'): string | undefined {
  return find(program) === undefined ? `${program} is not installed` : undefined
}

export function startRedis(): Promise<Broker> {
  // Redis keeps nothing over a restart.
  const options = '--bind 127.0.0.1 --appendonly no'.split(' ')
  return startBroker('redis-server', (port, folder) => [
    '--port',
    String(port),
    '--dir',
    folder,
    ...options,
    '--save',
    '',
  ])
}

export function startNats(): Promise<Broker> {
  return startBroker('nats-server', (port) => ['--addr', '127.0.0.1', '--port', String(port)])
}

async function startBroker(
  program: 'redis-server' | 'nats-server',
  argumentsFor: (port: number, folder: string) => readonly string[],
): Promise<Broker> {
  const path = find(program)
  if (path === undefined) throw new Error(`${program} is not installed`)
  const port = await pickFreePort()
  const folder = await mkdtemp(join(tmpdir(), `lockstep-test-${program}-`))
  let child: ChildProcess | undefined
  const isAlive = (): boolean => child?.exitCode === null && child.signalCode === null
  const kill = async (): Promise<void> => {
    if (child === undefined || !isAlive()) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
  // A broker that a test run leaves behind ends with it.
  const onExit = (): void => void child?.kill('SIGKILL')
  process.once('exit', onExit)
  const broker: Broker = {
    port,
    kill,
    stall: () => void child?.kill('SIGSTOP'),
    resume: () => void child?.kill('SIGCONT'),
    async start() {
      if (isAlive()) return
      child = spawn(path, argumentsFor(port, folder), { stdio: 'ignore', cwd: folder })
      await accepting(port, child)
    },
    async close() {
      await kill()
      process.off('exit', onExit)
      await rm(folder, { recursive: true, force: true })
    },
  }
  await broker.start()
  return broker
}

async function accepting(port: number, child: ChildProcess): Promise<void> {
  while (child.exitCode === null) {
    const socket = connect(port, '127.0.0.1')
    try {
      await once(socket, 'connect')
      return
    } catch {
      await pause(10)
    } finally {
      socket.destroy()
    }
  }
  throw new Error(`the broker ended with code ${child.exitCode}`)
}

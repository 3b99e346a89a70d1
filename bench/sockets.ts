import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { WebSocket } from 'ws'
import { signToken } from '../src/index.ts'
import { startOwnPostgres } from '../test/support/postgres.ts'
import type { Memory } from './child.ts'
import type { Reads, ServerConfig } from './lockstep-server.ts'

export interface SocketOptions {
  readonly sockets: number
  readonly rounds: number
}

const secret = 'a secret of the bench, at least 32 bytes long'
const rooms = 50
const eventsPerRoom = 20
const atOnce = 100

/** Memory of idle sockets against bare `ws`, then a storm of reconnects. */
export async function benchSockets({ sockets, rounds }: SocketOptions): Promise<object> {
  const postgres = await startOwnPostgres({ durable: false })
  const config: ServerConfig = { databaseUrl: postgres.server.url, secret, rooms, eventsPerRoom }
  try {
    const tokens = await Promise.all(
      Array.from({ length: sockets }, (_, n) => signToken(secret, `user${n}`, 3_600)),
    )
    const hello = (n: number): string => JSON.stringify({ id: 1, connect: { token: tokens[n] } })
    const found = { bare: [] as Memory[], lockstep: [] as Memory[] }
    let idleCpuMs = 0
    for (let round = 0; round < rounds; round += 1) {
      const bare = await start('bare-server.ts', config)
      found.bare.push(await perSocket(bare, sockets, hello))
      bare.server.kill('SIGKILL')
      const own = await start('lockstep-server.ts', config)
      found.lockstep.push(await perSocket(own, sockets, hello))
      idleCpuMs = (await ask(own.server, 'idleCpuMs')) as number
      own.server.kill('SIGKILL')
      console.log(
        `round ${round + 1}: bare ${shown(found.bare.at(-1))}, lockstep ${shown(found.lockstep.at(-1))}; idle node ${idleCpuMs.toFixed(1)} ms of CPU a second`,
      )
    }
    const [bare, lockstep] = [medianOf(found.bare), medianOf(found.lockstep)]
    return {
      bench: 'sockets',
      sockets,
      bareHeapBytes: Math.round(bare.heapBytes),
      bareRssBytes: Math.round(bare.rssBytes),
      heapBytes: Math.round(lockstep.heapBytes),
      rssBytes: Math.round(lockstep.rssBytes),
      heapRatio: rounded(lockstep.heapBytes / bare.heapBytes),
      rssRatio: rounded(lockstep.rssBytes / bare.rssBytes),
      idleCpuMsPerSecond: rounded(idleCpuMs),
      storm: await storm(await start('lockstep-server.ts', config), sockets, tokens),
    }
  } finally {
    await postgres.close()
  }
}

interface Started {
  readonly server: ChildProcess
  readonly url: string
}

async function start(file: string, config: ServerConfig): Promise<Started> {
  const server = fork(fileURLToPath(new URL(file, import.meta.url)), {
    execArgv: ['--expose-gc', '--import', 'tsx'],
    env: { ...process.env, BENCH_SERVER: JSON.stringify(config) },
  })
  const [{ answer }] = (await once(server, 'message')) as [{ answer: number }]
  return { server, url: `ws://127.0.0.1:${answer}/lockstep/ws` }
}

async function ask(server: ChildProcess, question: string): Promise<unknown> {
  server.send(question)
  const [{ answer }] = (await once(server, 'message')) as [{ answer: unknown }]
  return answer
}

async function perSocket(
  { server, url }: Started,
  count: number,
  hello: (n: number) => string,
): Promise<Memory> {
  // What is made once, code above all, belongs to no socket.
  await closeAll(await openAll(url, Math.min(count, 500), hello))
  const before = (await ask(server, 'memory')) as Memory
  const sockets = await openAll(url, count, hello)
  const after = (await ask(server, 'memory')) as Memory
  for (const socket of sockets) socket.terminate()
  return {
    heapBytes: (after.heapBytes - before.heapBytes) / count,
    rssBytes: (after.rssBytes - before.rssBytes) / count,
  }
}

async function openAll(url: string, count: number, hello: (n: number) => string): Promise<WebSocket[]> {
  const sockets: WebSocket[] = []
  for (let from = 0; from < count; from += atOnce) {
    const batch = Array.from({ length: Math.min(atOnce, count - from) }, (_, n) => open(url, hello(from + n)))
    sockets.push(...(await Promise.all(batch)))
  }
  return sockets
}

/** Resolves when the first message has been answered. */
async function open(url: string, message: string): Promise<WebSocket> {
  const socket = new WebSocket(url, { perMessageDeflate: false })
  await once(socket, 'open')
  socket.send(message)
  await once(socket, 'message')
  // The server's pings; who does not answer is closed.
  socket.on('message', (data: Buffer) => void (data.toString() === '{}' && socket.send('{}')))
  socket.on('error', () => {})
  return socket
}

async function closeAll(sockets: readonly WebSocket[]): Promise<void> {
  const closed = sockets.map((socket) => once(socket, 'close'))
  for (const socket of sockets) socket.close()
  await Promise.all(closed)
}

interface Position {
  readonly epoch: string
  readonly offset?: number
}

async function storm({ server, url }: Started, count: number, tokens: readonly string[]): Promise<object> {
  await ask(server, 'remember')
  const lines = (n: number, from?: Position): string => {
    const recover = from === undefined ? {} : { recover: true, offset: from.offset ?? 0, epoch: from.epoch }
    const subs =
      from === undefined ? {} : { [`user:user${n}`]: { recover: true, offset: 0, epoch: from.epoch } }
    return [
      JSON.stringify({ id: 1, connect: { token: tokens[n], subs } }),
      JSON.stringify({ id: 2, subscribe: { channel: `room:${n % rooms}`, ...recover } }),
    ].join('\n')
  }
  const positions: Position[] = []
  const before: WebSocket[] = []
  for (let from = 0; from < count; from += atOnce) {
    const batch = Array.from({ length: Math.min(atOnce, count - from) }, (_, n) => join(url, lines(from + n)))
    for (const { socket, result } of await Promise.all(batch)) {
      before.push(socket)
      positions.push(result)
    }
  }
  const gone = before.map((socket) => once(socket, 'close'))
  await ask(server, 'cut')
  await Promise.all(gone)
  await ask(server, 'emit')
  const began = performance.now()
  const back = await Promise.all(positions.map((position, n) => join(url, lines(n, position))))
  const seconds = (performance.now() - began) / 1_000
  const reads = (await ask(server, 'reads')) as Reads
  const recovered = back.filter(
    ({ result }) => result.recovered === true && result.publications?.length === eventsPerRoom,
  )
  for (const { socket } of back) socket.terminate()
  server.kill('SIGKILL')
  return {
    reconnects: count,
    recovered: recovered.length,
    seconds: rounded(seconds),
    channels: rooms + count,
    ...reads,
  }
}

type Subscribed = Position & { readonly recovered?: boolean; readonly publications?: readonly unknown[] }

async function join(url: string, message: string): Promise<{ socket: WebSocket; result: Subscribed }> {
  const socket = new WebSocket(url, { perMessageDeflate: false })
  socket.on('error', () => {})
  const answered = new Promise<Subscribed>((resolve, reject) => {
    socket.on('close', (code) => reject(new Error(`closed with ${code}`)))
    socket.on('message', (data: Buffer) => {
      for (const line of data.toString().split('\n')) {
        const { id, subscribe, error } = JSON.parse(line) as {
          id?: number
          subscribe?: Subscribed
          error?: object
        }
        if (error !== undefined) reject(new Error(JSON.stringify(error)))
        if (id === 2 && subscribe !== undefined) resolve(subscribe)
      }
    })
  })
  socket.on('open', () => socket.send(message))
  const result = await answered
  socket.removeAllListeners('close')
  return { socket, result }
}

function medianOf(found: readonly Memory[]): Memory {
  const median = (of: (memory: Memory) => number): number => {
    const sorted = found.map(of).toSorted((a, b) => a - b)
    const middle = (sorted.length - 1) / 2
    return ((sorted[Math.floor(middle)] ?? 0) + (sorted[Math.ceil(middle)] ?? 0)) / 2
  }
  return { heapBytes: median(({ heapBytes }) => heapBytes), rssBytes: median(({ rssBytes }) => rssBytes) }
}

const rounded = (value: number): number => Math.round(value * 100) / 100
const shown = (memory: Memory | undefined): string =>
  `heap ${Math.round(memory?.heapBytes ?? 0)}, RSS ${Math.round(memory?.rssBytes ?? 0)} bytes a socket`

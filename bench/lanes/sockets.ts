import { once } from 'node:events'
import { WebSocket } from 'ws'
import { signToken } from '../../src/index.ts'
import type { Reads, ServerConfig } from '../children/idle-lockstep.ts'
import { Child, endAll } from '../harness/child.ts'
import { join, type Position } from '../harness/join.ts'
import { rounded, type Lane, type LaneContext } from '../harness/lane.ts'
import type { Memory } from '../harness/memory.ts'
import { interleave, medianOf, ratioOf } from '../harness/rounds.ts'

const secret = 'a secret of the bench, at least 32 bytes long'
const rooms = 50
const eventsPerRoom = 20
const atOnce = 100
/** Memory hardly differs from run to run. */
const maxRounds = 2

/** Memory of idle sockets against bare `ws`, then a storm of reconnects. */
export const sockets: Lane = {
  name: 'sockets',
  about: 'memory of an idle connection against bare ws, and a storm of reconnects',
  minutes: 2,
  async run(context) {
    const { sockets: count, rounds, say } = context
    const tokens = await Promise.all(
      Array.from({ length: count }, (_, n) => signToken(secret, `user${n}`, 3_600)),
    )
    const hello = (n: number): string => JSON.stringify({ id: 1, connect: { token: tokens[n] } })
    let idleCpuMs = 0
    const found = await interleave(['lockstep', 'bare'], Math.min(rounds, maxRounds), async (variant) => {
      const started = await start(context, variant)
      const memory = await perSocket(started, count, hello)
      if (variant === 'lockstep') idleCpuMs = await started.server.ask<number>('idleCpuMs')
      await endAll([started.server])
      say(
        `idle sockets, ${variant}: heap ${Math.round(memory.heapBytes)}, RSS ${Math.round(memory.rssBytes)} bytes each`,
      )
      return memory
    })
    const returned = await storm(await start(context, 'lockstep'), count, tokens)
    say(`storm: ${JSON.stringify(returned)}`)
    const bytes = (memories: readonly Memory[], of: keyof Memory): number =>
      Math.round(medianOf(memories, (memory) => memory[of]))
    const ratio = (of: keyof Memory): number =>
      rounded(ratioOf(found.lockstep, found.bare, (memory) => memory[of]).median)
    return {
      figures: {
        idle_heap_vs_ws: ratio('heapBytes'),
        idle_rss_vs_ws: ratio('rssBytes'),
        storm_reads_of_one_channel: returned.mostOfOneChannel,
        storm_recovered: returned.recovered,
      },
      tables: [
        {
          title: `Memory of one idle connection, of ${count.toLocaleString('en')}`,
          columns: ['server', 'heap, bytes', 'resident, bytes'],
          rows: [
            ['Lockstep', bytes(found.lockstep, 'heapBytes'), bytes(found.lockstep, 'rssBytes')],
            ['bare `ws`', bytes(found.bare, 'heapBytes'), bytes(found.bare, 'rssBytes')],
            ['Lockstep is', `${ratio('heapBytes')} ×`, `${ratio('rssBytes')} ×`],
          ],
        },
        {
          title: 'All come back at once',
          note: `Each has missed ${eventsPerRoom} events in one of ${rooms} channels, and none in its own. An idle node used ${rounded(idleCpuMs)} ms of processor time a second.`,
          columns: [
            'came back',
            'recovered',
            'seconds',
            'channels',
            'reads of the log',
            'most for one channel',
            'reads of heads',
          ],
          rows: [
            [
              count,
              returned.recovered,
              returned.seconds,
              returned.channels,
              returned.log,
              returned.mostOfOneChannel,
              returned.heads,
            ],
          ],
        },
      ],
    }
  },
}

interface Started {
  readonly server: Child
  readonly url: string
}

async function start(context: LaneContext, variant: 'lockstep' | 'bare'): Promise<Started> {
  const postgres = await context.postgres()
  const databaseUrl = variant === 'lockstep' ? await postgres.createDatabase() : ''
  const config: ServerConfig = { databaseUrl, secret, rooms, eventsPerRoom }
  const server = await Child.start(variant === 'lockstep' ? 'idle-lockstep.ts' : 'idle-ws.ts', config)
  return { server, url: `ws://127.0.0.1:${await server.ask<number>('port')}/lockstep/ws` }
}

async function perSocket(
  { server, url }: Started,
  count: number,
  hello: (n: number) => string,
): Promise<Memory> {
  // Open and close some sockets first: memory allocated once, above all for code, belongs to no socket.
  await closeAll(await openAll(url, Math.min(count, 500), hello))
  const before = await server.ask<Memory>('memory')
  const opened = await openAll(url, count, hello)
  const after = await server.ask<Memory>('memory')
  for (const socket of opened) socket.terminate()
  return {
    heapBytes: (after.heapBytes - before.heapBytes) / count,
    rssBytes: (after.rssBytes - before.rssBytes) / count,
  }
}

async function openAll(url: string, count: number, hello: (n: number) => string): Promise<WebSocket[]> {
  const opened: WebSocket[] = []
  for (let from = 0; from < count; from += atOnce) {
    const batch = Array.from({ length: Math.min(atOnce, count - from) }, (_, n) => open(url, hello(from + n)))
    opened.push(...(await Promise.all(batch)))
  }
  return opened
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

async function closeAll(opened: readonly WebSocket[]): Promise<void> {
  const closed = opened.map((socket) => once(socket, 'close'))
  for (const socket of opened) socket.close()
  await Promise.all(closed)
}

interface Storm extends Reads {
  readonly recovered: number
  readonly seconds: number
  readonly channels: number
}

async function storm({ server, url }: Started, count: number, tokens: readonly string[]): Promise<Storm> {
  await server.ask('remember')
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
  await server.ask('cut')
  await Promise.all(gone)
  await server.ask('emit')
  const began = performance.now()
  const back = await Promise.all(positions.map((position, n) => join(url, lines(n, position))))
  const seconds = (performance.now() - began) / 1_000
  const reads = await server.ask<Reads>('reads')
  const recovered = back.filter(
    ({ result }) => result.recovered === true && result.publications?.length === eventsPerRoom,
  )
  for (const { socket } of back) socket.terminate()
  await endAll([server])
  return {
    recovered: recovered.length,
    seconds: rounded(seconds),
    channels: rooms + count,
    ...reads,
  }
}

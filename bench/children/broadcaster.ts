// A server that sends messages to many sockets in one of three ways: Lockstep, a loop over `ws`, or Socket.IO.
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { Socket } from 'node:net'
import pg from 'pg'
import { Server as SocketIo } from 'socket.io'
import { WebSocketServer } from 'ws'
import { z } from 'zod'
import {
  createLockstep,
  fromPool,
  newOperationId,
  silentLogger,
  type Bus,
  type BusPort,
} from '../../src/index.ts'
import {
  maxQueuedBytes,
  newEvent,
  payload,
  pumpBursts,
  pushText,
  roomName,
  type Pump,
  type SendBurst,
} from '../harness/broadcast.ts'
import { answerBench, childConfig, cpuUs, listenLocally, patient } from '../harness/child-host.ts'

/**
 * `lockstep`: events of another node, as a bus hands them over. `lockstep-commit`: events of transactions of this node,
 * one after the other. `ws` and `ws-buffer`: one text or one Buffer, given to each socket in a loop.
 */
export type BroadcastVariant = 'lockstep' | 'lockstep-commit' | 'ws' | 'ws-buffer' | 'socket.io'

export interface BroadcasterConfig {
  readonly variant: BroadcastVariant
  /** Database of variants that use one. */
  readonly databaseUrl: string
}

const { variant, databaseUrl } = childConfig() as BroadcasterConfig
const server = createServer()
const connections: Socket[] = []
server.on('connection', (socket) => connections.push(socket))

let offset = 0

function overWs(toMessage: (text: string) => string | Buffer): SendBurst {
  const webSockets = new WebSocketServer({ server, perMessageDeflate: false })
  return (count) => {
    for (let n = 0; n < count; n += 1) {
      offset += 1
      const message = toMessage(pushText(offset))
      for (const socket of webSockets.clients) socket.send(message, { binary: false })
    }
  }
}

function overSocketIo(): SendBurst {
  const io = new SocketIo(server, { transports: ['websocket'], perMessageDeflate: false, serveClient: false })
  io.on('connection', (socket) => void socket.join(roomName))
  return (count) => {
    for (let n = 0; n < count; n += 1) {
      offset += 1
      io.to(roomName).emit('noted', { ...newEvent(), offset })
    }
  }
}

async function startLockstep(bus: Bus | false) {
  const pool = new pg.Pool({ connectionString: databaseUrl, max: 4, pipeline: true })
  const lockstep = createLockstep({
    database: fromPool(pool, patient),
    auth: async ({ token = '' }) => ({ user: { id: token } }),
    logger: silentLogger,
    bus,
    // The events given to the bus are in no log, and a comparison would say so.
    headCheckMs: 2_000_000_000,
  })
  const room = lockstep.channel('room:{id}', {
    events: { noted: z.object({ text: z.string(), n: z.number() }) },
    canSubscribe: () => true,
  })
  await lockstep.start()
  lockstep.attach(server)
  return { lockstep, room }
}

/** A bus whose other nodes are this process: what is heard is what is said to it here. */
async function overLockstep(): Promise<SendBurst> {
  let port: BusPort | undefined
  await startLockstep({
    start: async (given) => void (port = given),
    publish: () => {},
    publishTransient: () => {},
    serve: () => {},
    unserve: () => {},
    follow: () => {},
    health: { kind: 'bench', state: 'up' },
    close: async () => {},
  })
  const data = JSON.stringify(payload)
  return (count) => {
    for (let n = 0; n < count; n += 1) {
      offset += 1
      const event = { channel: roomName, offset, operationId: newOperationId(), type: 'noted', data }
      port?.events([{ ...event, at: new Date() }])
    }
  }
}

async function overCommits(): Promise<SendBurst> {
  const { lockstep, room } = await startLockstep(false)
  return async (count) => {
    await lockstep.transaction({ name: 'send', user: 'ada' }, async (tx) => {
      for (let n = 0; n < count; n += 1) tx.emit(room({ id: '1' }), 'noted', payload)
    })
  }
}

const variants: Readonly<Record<BroadcastVariant, () => SendBurst | Promise<SendBurst>>> = {
  lockstep: overLockstep,
  'lockstep-commit': overCommits,
  ws: () => overWs((text) => text),
  'ws-buffer': () => overWs((text) => Buffer.from(text)),
  'socket.io': overSocketIo,
}

const send = await variants[variant]()
const port = await listenLocally(server satisfies Server)

/** All sockets are sent the same, so a few of them tell how far behind the receivers are. */
async function roomToWrite(): Promise<void> {
  const step = Math.max(1, Math.floor(connections.length / 20))
  for (;;) {
    let queued = 0
    for (let at = 0; at < connections.length; at += step) {
      queued = Math.max(queued, connections[at]?.writableLength ?? 0)
    }
    await new Promise((resolve) => setImmediate(resolve))
    if (queued <= maxQueuedBytes) return
  }
}

let cpuFrom = 0

answerBench({
  port: () => port,
  pump: (pump: Pump) => {
    cpuFrom = cpuUs()
    return pumpBursts(pump, send, roomToWrite)
  },
  /** Processor time, asked for when all has arrived: queued messages cost some after the pump. */
  cpuUs: () => cpuUs() - cpuFrom,
  /**
   * Resolves once all sockets have gone. A channel's feed ends with its last subscriber, and the next one begins at the
   * log's head.
   */
  forget: async () => {
    await Promise.all(connections.filter((socket) => !socket.closed).map((socket) => once(socket, 'close')))
    connections.length = 0
    offset = 0
  },
})

import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { CentrifugoBroadcasterConfig } from '../../../bench/children/centrifugo-broadcaster.ts'
import type { OpenRequest } from '../../../bench/children/receivers.ts'
import {
  maxQueuedBytes,
  pushText,
  roomName,
  type Pump,
  type Pumped,
} from '../../../bench/harness/broadcast.ts'
import { startCentrifugo, type Centrifugo } from '../../../bench/harness/centrifugo.ts'
import { Child, endAll } from '../../../bench/harness/child.ts'

const standIn = fileURLToPath(new URL('../../support/centrifugo-stand-in.mjs', import.meta.url))
/** The first of them compiles the bench. */
const patienceMs = 90_000
const started: Child[] = []
let centrifugo: Centrifugo

beforeEach(async () => {
  vi.stubEnv('CENTRIFUGO_BIN', standIn)
  centrifugo = await startCentrifugo({ mode: 'memory' })
})

afterEach(async () => {
  await endAll(started.splice(0))
  await centrifugo.close()
  vi.unstubAllEnvs()
})

async function start(file: string, config: object): Promise<Child> {
  const child = await Child.start(file, config)
  started.push(child)
  return child
}

const broadcaster = (config: Partial<CentrifugoBroadcasterConfig> = {}): Promise<Child> => {
  const { port, pid, apiKey } = centrifugo
  return start('centrifugo-broadcaster.ts', { port, pid, apiKey, ...config })
}

async function openSockets(receivers: Child, count: number, channel = roomName): Promise<number> {
  const request: OpenRequest = { wire: 'centrifugo', port: centrifugo.port, count, channel }
  return receivers.ask<number>('open', request)
}

interface Counts {
  readonly publish: number
  readonly batch: number
  readonly apiConnections: number
  readonly pongs: number
}

async function askStandIn(question: 'counts' | 'hold' | 'release'): Promise<Counts> {
  const response = await fetch(`http://127.0.0.1:${centrifugo.port}/stand-in/${question}`)
  return (await response.json()) as Counts
}

test(
  'every message that reaches Centrifugo over HTTP arrives once at every socket, and its processor time is counted',
  async () => {
    const sockets = 7
    const [server, receivers] = [await broadcaster(), await start('receivers.ts', {})]
    expect(await server.ask<number>('port')).toBe(centrifugo.port)
    const group = await openSockets(receivers, sockets)
    const sent: number[] = []
    for (const burst of [1, 10]) {
      await receivers.ask('reset', group)
      const pump: Pump = { seconds: 0.4, burst }
      const { messages, beganUs } = await server.ask<Pumped>('pump', pump)
      expect(messages).toBeGreaterThan(0)
      const wanted = { group, messages: messages * sockets }
      const arrived = await receivers.ask<{ lastUs: number; messages: number }>('received', wanted)
      expect(arrived.messages).toBe(wanted.messages)
      expect(arrived.lastUs).toBeGreaterThan(beganUs)
      const cpuUs = await server.ask<number | undefined>('cpuUs')
      expect(cpuUs === undefined ? 'unknown' : cpuUs > 0).toBe(existsSync('/proc') || 'unknown')
      sent.push(messages)
    }
    await receivers.ask('close', group)
    await server.ask('forget')
    const [singles = 0, inBursts = 0] = sent
    const { pongs, ...counts } = await askStandIn('counts')
    expect(counts).toEqual({ publish: singles, batch: inBursts / 10, apiConnections: 1 })
    expect(pongs).toBeGreaterThan(0)
  },
  patienceMs,
)

test(
  'no more is on its way to a receiver than would wait in a socket of the others',
  async () => {
    const [server, receivers] = [await broadcaster(), await start('receivers.ts', {})]
    const group = await openSockets(receivers, 1)
    await askStandIn('hold')
    const burst = 10
    const pumped = server.ask<Pumped>('pump', { seconds: 1, burst } satisfies Pump)
    const fitting = Math.floor(maxQueuedBytes / Buffer.byteLength(pushText(1)))
    const bursts = Math.floor(fitting / burst) + 1
    await expect.poll(async () => (await askStandIn('counts')).batch).toBe(bursts)
    // A pump that goes on would publish beside these.
    for (let n = 0; n < 50; n += 1) expect((await askStandIn('counts')).batch).toBe(bursts)
    await askStandIn('release')
    const { messages } = await pumped
    expect(messages).toBeGreaterThanOrEqual(bursts * burst)
    const arrived = await receivers.ask<{ messages: number }>('received', { group, messages })
    expect(arrived.messages).toBe(messages)
  },
  patienceMs,
)

test(
  'what Centrifugo refuses ends the pump, or the opening of sockets, with what it said',
  async () => {
    const stranger = await broadcaster({ apiKey: 'another' })
    for (const burst of [1, 10]) {
      await expect(stranger.ask('pump', { seconds: 1, burst } satisfies Pump)).rejects.toThrow('401')
    }
    const receivers = await start('receivers.ts', {})
    await expect(openSockets(receivers, 1, 'nowhere:1')).rejects.toThrow('unknown channel')
  },
  patienceMs,
)

test(
  'a pump does not wait for a Centrifugo that has ended',
  async () => {
    const server = await broadcaster()
    const pumped = server.ask('pump', { seconds: 60, burst: 1 } satisfies Pump)
    const refusal = /ECONN|EPIPE|hang up|closed the socket/
    await Promise.all([expect(pumped).rejects.toThrow(refusal), centrifugo.close()])
  },
  patienceMs,
)

test('a binary that does not start is told from one that is slow', async () => {
  vi.stubEnv('CENTRIFUGO_BIN', `${standIn}.missing`)
  await expect(startCentrifugo({ mode: 'memory' })).rejects.toThrow(/did not start.*ENOENT/s)
})

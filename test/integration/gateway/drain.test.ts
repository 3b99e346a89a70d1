// A node that stops: it takes no more connections, lets each socket have its answers, and closes all over a while.
import { once } from 'node:events'
import { afterEach, describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { z } from 'zod'
import { newOperationId } from '../../../src/client/index.ts'
import { signToken } from '../../../src/index.ts'
import { serve } from '../../support/sockets.ts'
import { createWorld, room, secret } from '../../support/world.ts'
import { RawClient, signal, startWorld, type Frame, type World } from './harness.ts'

let worlds: World[] = []
afterEach(async () => {
  await Promise.all(worlds.splice(0).map((started) => started.stop()))
})

async function world(...options: Parameters<typeof startWorld>): Promise<World> {
  const started = await startWorld(...options)
  worlds.push(started)
  return started
}

/** Status of a refused upgrade. */
async function refusal(url: string): Promise<number | undefined> {
  const late = new WebSocket(url)
  late.on('error', () => {})
  const [, response] = (await once(late, 'unexpected-response')) as [unknown, { statusCode: number }]
  late.terminate()
  return response.statusCode
}

interface Farewell {
  readonly code: number
  readonly afterMs: number
  /** Frames that the client had received by then. */
  readonly frames: readonly Frame[]
}

/** Ending of a client's connection, with the time since `from`, both as they stand in its close frame. */
async function farewell(client: RawClient, from: number): Promise<Farewell> {
  const { code } = await client.closed
  return { code, afterMs: performance.now() - from, frames: client.messages.flat() }
}

describe('the sockets of a node that stops', () => {
  const count = 200
  const overMs = 1_000

  test('are closed with 3001 evenly over the time given, and new ones are refused meanwhile', async () => {
    const at = await world()
    const clients = await connectAll(at, count)
    const from = performance.now()
    const closed = at.gateway.close({ drainMs: overMs })
    const ends = clients.map((client) => farewell(client, from))
    expect(await refusal(at.url)).toBe(503)
    await Promise.race(ends)
    expect(at.gateway.connections()).toBeGreaterThan(0)
    expect(await refusal(at.url)).toBe(503)

    const all = await Promise.all(ends)
    await closed
    expect(new Set(all.map(({ code }) => code))).toEqual(new Set([3001]))
    const times = all.map(({ afterMs }) => afterMs).toSorted((a, b) => a - b)
    const within = (ms: number): number => times.filter((time) => time <= ms).length
    // Lateness of this process moves closes to the back, so the front is bounded from above and the end from both sides.
    expect(within(overMs * 0.1)).toBeLessThanOrEqual(count * 0.15)
    expect(within(overMs * 0.5)).toBeLessThanOrEqual(count * 0.6)
    expect(within(overMs * 0.9)).toBeGreaterThan(count * 0.25)
    expect(times.at(-1)).toBeGreaterThan(overMs * 0.8)
    expect(times.at(-1)).toBeLessThan(overMs * 3)
  })

  test('are closed after the answer that they wait for', async () => {
    const at = await world()
    const gate = signal()
    at.methods.set('slow', async () => {
      await gate.promise
      return 'late'
    })
    const clients = await connectAll(at, 20)
    const [busy, idle] = [clients.slice(0, 10), clients.slice(10)]
    for (const client of busy) client.send({ id: 2, rpc: { method: 'slow', data: {} } })
    await Promise.all(busy.map((client) => client.settled()))
    const from = performance.now()
    const closed = at.gateway.close({ drainMs: 2_000 })
    const ends = busy.map((client) => farewell(client, from))
    await Promise.all(idle.map((client) => client.closed))
    for (const { socket } of busy) expect(socket.readyState).toBe(WebSocket.OPEN)
    gate.fire()
    for (const { code, frames } of await Promise.all(ends)) {
      expect(frames.at(-1)).toEqual({ id: 2, rpc: { data: 'late' } })
      expect(code).toBe(3001)
    }
    await closed
  })

  test('are closed without it when the time is up', async () => {
    const at = await world()
    const aborted = signal<boolean>()
    at.methods.set('endless', ({ signal: abort }) => {
      abort.addEventListener('abort', () => aborted.fire(true))
      return new Promise(() => {})
    })
    const [client] = (await connectAll(at, 1)) as [RawClient]
    client.send({ id: 2, rpc: { method: 'endless', data: {} } })
    await client.settled()
    const from = performance.now()
    const closed = at.gateway.close({ drainMs: 200 })
    const { code, afterMs } = await farewell(client, from)
    expect(code).toBe(3001)
    expect(afterMs).toBeGreaterThan(150)
    expect(await aborted.promise).toBe(true)
    await closed
  })

  test('are destroyed in time when their peers do not answer the close', async () => {
    const at = await world({ limits: { closeTimeoutMs: 300 } })
    const clients = await connectAll(at, 50)
    for (const client of clients) client.socket.pause()
    const from = performance.now()
    await at.gateway.close({ drainMs: 200 })
    expect(performance.now() - from).toBeLessThan(2_000)
    expect(at.gateway.connections()).toBe(0)
    for (const client of clients) client.socket.resume()
    const codes = await Promise.all(clients.map(async (client) => (await client.closed).code))
    expect(new Set(codes)).toEqual(new Set([3001]))
  })
})

describe('operations of a node that stops', () => {
  /** Twelve sockets with a call each, at a node that is told to stop once all of them run. */
  async function stopAmid(gate: Promise<void>, drainMs: number) {
    const entered = signal()
    const at = await createWorld({ poolSize: 16 })
    let running = 0
    at.lockstep.operation('wait_for_gate', {
      input: z.object({ note: z.string() }),
      rollback: { userMessage: 'It was not saved.' },
      async run({ input, tx, signal: abort }) {
        await tx.db.query('insert into notes values ($1, $1)', [input.note])
        tx.emit(room({ id: 'drained' }), 'note.added', { id: input.note, text: '' })
        if (++running === 12) entered.fire()
        await Promise.race([gate, once(abort, 'abort')])
        return { note: input.note }
      },
    })
    const served = await serve(at)
    const clients = await Promise.all(
      Array.from({ length: 12 }, async (_, n) => {
        const client = await RawClient.open(served.url)
        await client.ask({ id: 1, connect: { token: await signToken(secret, `user${n}`, 600) } })
        client.send({
          id: 2,
          rpc: { method: 'wait_for_gate', data: { id: newOperationId(), input: { note: `note${n}` } } },
        })
        return client
      }),
    )
    await entered.promise
    const ends = clients.map((client) => farewell(client, performance.now()))
    const closed = at.lockstep.close({ drainMs })
    return {
      at,
      url: served.url,
      ends,
      finish: async () => {
        await closed
        await at.close()
        await served.close()
      },
    }
  }

  const answerOf = ({ frames }: Farewell): unknown => frames.findLast(({ id }) => id === 2)
  const lastPushOf = ({ frames }: Farewell): unknown => frames.findLast(({ push }) => push !== undefined)

  test('commit and are answered before their sockets close, while nobody new is let in', async () => {
    const gate = signal()
    const { at, url, ends, finish } = await stopAmid(gate.promise, 10_000)
    expect(await refusal(url)).toBe(503)
    expect((await at.lockstep.health.report()).status).toBe('stopping')
    gate.fire()
    for (const end of await Promise.all(ends)) {
      expect(answerOf(end)).toMatchObject({ rpc: { data: { outcome: 'committed' } } })
      expect(end.code).toBe(3001)
    }
    expect(await at.rows('select id from notes')).toHaveLength(12)
    await finish()
  })

  test('that do not end in time are rolled back, and their users notified, before their sockets close', async () => {
    const { at, ends, finish } = await stopAmid(new Promise(() => {}), 300)
    for (const end of await Promise.all(ends)) {
      expect(answerOf(end)).toMatchObject({
        rpc: { data: { outcome: 'rolled_back', notice: { userMessage: 'It was not saved.' } } },
      })
      expect(lastPushOf(end)).toMatchObject({ push: { pub: { data: { type: 'transaction_rolled_back' } } } })
      expect(end.code).toBe(3001)
    }
    expect(await at.rows('select id from notes')).toEqual([])
    await finish()
  })
})

async function connectAll(at: World, count: number): Promise<RawClient[]> {
  const clients: RawClient[] = []
  for (let n = 0; n < count; n += 1) clients.push(await RawClient.connect(at, `user${n}`))
  return clients
}

// Twenty users who do their worst within the limits, in a process of their own, so that their work is not the callers'.
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { newOperationId } from '../../src/index.ts'
import { LightSocket, type Reply } from './light-socket.ts'

/** What they did, by kind. */
export interface Deeds {
  readonly calls: number
  readonly slow: number
  readonly failures: number
  readonly questions: number
  readonly subscribes: number
  /** Sockets that were closed because they were not read. */
  readonly closed: number
  /** Refused with error 111. */
  readonly refused: number
}

const ports = (process.env['FAIRNESS_PORTS'] ?? '').split(',').map(Number)
const secret = process.env['FAIRNESS_SECRET'] ?? ''

const deeds = { calls: 0, slow: 0, failures: 0, questions: 0, subscribes: 0, closed: 0, refused: 0 }
const end = new AbortController()

/** Sockets of one user, spread over the nodes. */
async function open(user: string, count: number): Promise<readonly LightSocket[]> {
  const sockets = Array.from(
    { length: count },
    (_, n) => new LightSocket(ports[n % ports.length] ?? 0, user, secret),
  )
  await Promise.all(sockets.map(({ ready }) => ready))
  return sockets
}

/** Keeps so many under way on one socket, whatever is answered. */
function keep(
  socket: LightSocket,
  count: number,
  ask: () => Promise<Reply | undefined>,
  done: () => void,
): void {
  const loop = async (): Promise<void> => {
    while (!end.signal.aborted && socket.isOpen) {
      const reply = await ask()
      if (reply?.error?.code === 111) deeds.refused += 1
      else if (reply !== undefined) done()
    }
  }
  for (let n = 0; n < count; n += 1) void loop()
}

const kinds: readonly ((user: string) => Promise<void>)[] = [
  /** As many outstanding calls as the limits allow. */
  async (user) => {
    for (const socket of await open(user, 4)) {
      const ask = () => socket.rpc('send', { id: newOperationId(), input: { room: user, n: 1 } })
      keep(socket, 1_000, ask, () => (deeds.calls += 1))
    }
  },
  async (user) => {
    for (const socket of await open(user, 2)) {
      const ask = () => socket.rpc('slow', { id: newOperationId(), input: { holdMs: 3_000 } })
      keep(socket, 500, ask, () => (deeds.slow += 1))
    }
  },
  async (user) => {
    for (const socket of await open(user, 2)) {
      const ask = () => socket.rpc('fail', { id: newOperationId(), input: {} })
      keep(socket, 500, ask, () => (deeds.failures += 1))
    }
  },
  async (user) => {
    for (const socket of await open(user, 2)) {
      const ask = () =>
        socket.rpc('lockstep.outcomes', { ids: Array.from({ length: 100 }, () => randomUUID()) })
      keep(socket, 5, ask, () => (deeds.questions += 1))
    }
  },
  async (user) => {
    for (const [n, socket] of (await open(user, 4)).entries()) {
      let channel = 0
      const ask = async (): Promise<Reply | undefined> => {
        const name = `room:${user}-${n}-${(channel += 1)}`
        const subscribed = socket.subscribe(name)
        await socket.ask({ unsubscribe: { channel: name } })
        return subscribed
      }
      keep(socket, 60, ask, () => (deeds.subscribes += 1))
    }
  },
  /** Sockets that ask for much and read nothing, opened again as they are closed. */
  async (user) => {
    const loop = async (): Promise<void> => {
      while (!end.signal.aborted) {
        const [socket] = await open(user, 1).catch(() => [])
        if (socket === undefined) return
        await socket.subscribe('room:0')
        socket.stopReading()
        for (let n = 0; n < 50; n += 1) void socket.rpc('big', {})
        // The close is not read either: the server cuts the connection.
        await sleep(2_000)
        deeds.closed += 1
        socket.close()
      }
    }
    await Promise.all(Array.from({ length: 20 }, loop))
  },
]

process.on('message', () => {
  end.abort()
  process.send?.(deeds satisfies Deeds)
})
for (let n = 0; n < 20; n += 1) void kinds[n % kinds.length]?.(`abuser${n}`)

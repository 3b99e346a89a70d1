// Thousands of users who call now and then, the answers they got, and the time these took.
import { newOperationId } from '../../src/index.ts'
import { machineMs, type Moments } from './call-trace.ts'
import { LightSocket } from './light-socket.ts'

export interface CrowdOptions {
  readonly ports: readonly number[]
  readonly secret: string
  readonly sockets: number
  readonly users: number
  readonly rooms: number
}

export interface Measured {
  readonly calls: number
  readonly p50: number
  readonly p99: number
  readonly max: number
  /** Lateness of this process in sending, 99th percentile in milliseconds: it is not the nodes' doing. */
  readonly lateMs: number
  /** Replies other than committed, counted by their text. */
  readonly others: ReadonlyMap<string, number>
  /** Times at which each call was sent and answered, by its number. */
  readonly moments: ReadonlyMap<number, Moments>
}

export class Crowd {
  readonly #sockets: readonly LightSocket[]
  readonly #rooms: number
  #called = 0

  private constructor(sockets: readonly LightSocket[], rooms: number) {
    this.#sockets = sockets
    this.#rooms = rooms
  }

  static async open({ ports, secret, sockets, users, rooms }: CrowdOptions): Promise<Crowd> {
    const all: LightSocket[] = []
    for (let from = 0; from < sockets; from += 100) {
      const batch = Array.from(
        { length: Math.min(100, sockets - from) },
        (_, n) => new LightSocket(ports[n % ports.length] ?? 0, `user${(from + n) % users}`, secret),
      )
      await Promise.all(batch.map(({ ready }) => ready))
      await Promise.all(batch.map((socket, n) => socket.subscribe(`room:${(from + n) % rooms}`)))
      all.push(...batch)
    }
    return new Crowd(all, rooms)
  }

  get closed(): number {
    return this.#sockets.filter(({ isOpen }) => !isOpen).length
  }

  /** Calls at this rate, however long the answers take, by one socket after the other. */
  async call(perSecond: number, forMs: number): Promise<Measured> {
    const took: number[] = []
    const late: number[] = []
    const others = new Map<string, number>()
    const moments = new Map<number, Moments>()
    const call = async (): Promise<void> => {
      this.#called += 1
      // A stride that is prime to their number, so that neighbours are of different nodes, users and rooms.
      const socket = this.#sockets[(this.#called * 1_009) % this.#sockets.length]
      const room = String(this.#called % this.#rooms)
      const n = this.#called
      const sent = machineMs()
      const reply = await socket?.rpc('send', { id: newOperationId(), input: { room, n } })
      const heard = machineMs()
      took.push(heard - sent)
      moments.set(n, { sent, heard })
      const answer = reply?.rpc?.data?.outcome ?? reply?.error?.message.split(':', 1)[0] ?? 'no answer'
      if (answer !== 'committed') others.set(answer, (others.get(answer) ?? 0) + 1)
    }
    const began = performance.now()
    const calls: Promise<void>[] = []
    await new Promise<void>((resolve) => {
      const timer = setInterval(() => {
        const elapsed = performance.now() - began
        for (let due = 0; (due = (calls.length / perSecond) * 1_000) < Math.min(elapsed, forMs);) {
          late.push(elapsed - due)
          calls.push(call())
        }
        if (elapsed < forMs) return
        clearInterval(timer)
        resolve()
      }, 5)
    })
    await Promise.all(calls)
    const at = quantiles(took)
    return {
      calls: took.length,
      p50: at(0.5),
      p99: at(0.99),
      max: at(1),
      lateMs: quantiles(late)(0.99),
      others,
      moments,
    }
  }

  close(): void {
    for (const socket of this.#sockets) socket.close()
  }
}

function quantiles(values: number[]): (share: number) => number {
  values.sort((a, b) => a - b)
  return (share) => values[Math.min(values.length - 1, Math.floor(values.length * share))] ?? 0
}

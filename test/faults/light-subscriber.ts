// A listener on a bare WebSocket, so that one process can be hundreds of them: it joins, recovers and notes what comes.
import { WebSocket } from 'ws'
import type { History } from './history.ts'
import type { MarkWatch } from './mark-watch.ts'
import { channelOf } from './places.ts'

export interface LightSubscriberOptions {
  readonly name: string
  readonly rooms: readonly string[]
  readonly url: string
  readonly token: string
  readonly history: History
  readonly watch: MarkWatch
}

interface Position {
  readonly offset: number
  readonly epoch: string
}
interface Publication {
  readonly offset?: number
  readonly data: { readonly type: string; readonly operationId: string; readonly data: unknown }
}
interface Subscribed {
  readonly epoch: string
  readonly offset?: number
  readonly recovered?: boolean
  readonly publications?: readonly Publication[]
}
interface Frame {
  readonly id?: number
  readonly error?: object
  readonly connect?: object
  readonly subscribe?: Subscribed
  readonly push?: {
    readonly channel?: string
    readonly pub?: Publication
    readonly unsubscribe?: object
  }
}

const joinTimeoutMs = 5_000
const shortestWaitMs = 50
const longestWaitMs = 500

export class LightSubscriber {
  readonly name: string
  readonly #options: LightSubscriberOptions
  readonly #channels: readonly string[]
  readonly #places = new Map<string, Position>()
  readonly #timers = new Set<NodeJS.Timeout>()
  /** Resolved when all channels have been joined once. */
  readonly #ready: Promise<void>
  #isReady: () => void = () => {}
  #socket: WebSocket | undefined
  #closed = false

  constructor(options: LightSubscriberOptions) {
    this.name = options.name
    this.#options = options
    this.#channels = options.rooms.map(channelOf)
    this.#ready = new Promise((resolve) => (this.#isReady = resolve))
    this.#open()
  }

  /** Last offset by channel. */
  get positions(): ReadonlyMap<string, number> {
    return new Map([...this.#places].map(([channel, { offset }]) => [channel, offset]))
  }

  ready(): Promise<void> {
    return this.#ready
  }

  close(): void {
    this.#closed = true
    for (const timer of this.#timers) clearTimeout(timer)
    this.#socket?.terminate()
    this.#options.watch.close()
  }

  #open(): void {
    const { url, token } = this.#options
    const socket = new WebSocket(url)
    this.#socket = socket
    const visit = new Visit(this.#channels.length)
    // A connection that leads nowhere is given up.
    const giveUp = this.#after(joinTimeoutMs, () => visit.unjoined > 0 && socket.terminate())
    socket.on('error', () => {})
    socket.on('open', () =>
      this.#ask(socket, visit, { connect: { token } }, () => this.#joinAll(socket, visit)),
    )
    socket.on('message', (data: Buffer) => this.#receive(socket, visit, data.toString()))
    socket.on('close', (_code, reason) => {
      this.#options.watch.see(reason.toString())
      this.#cancel(giveUp)
      // Spreads the reconnects of subscribers who have lost a node together.
      const waitMs = shortestWaitMs + Math.random() * (longestWaitMs - shortestWaitMs)
      if (!this.#closed) this.#after(waitMs, () => this.#open())
    })
  }

  #joinAll(socket: WebSocket, visit: Visit): void {
    for (const channel of this.#channels) this.#join(socket, visit, channel)
  }

  #join(socket: WebSocket, visit: Visit, channel: string): void {
    const place = this.#places.get(channel)
    const from = place === undefined ? {} : { recover: true, ...place }
    this.#ask(socket, visit, { subscribe: { channel, ...from } }, ({ subscribe }) => {
      if (subscribe === undefined) return
      this.#joined(channel, subscribe, place !== undefined)
      visit.unjoined -= 1
      if (visit.unjoined === 0) this.#isReady()
    })
  }

  #joined(channel: string, reply: Subscribed, wasRecovering: boolean): void {
    const { epoch, offset = 0, recovered = false, publications = [] } = reply
    const { history, name } = this.#options
    this.#places.set(channel, { offset, epoch })
    if (wasRecovering && recovered) {
      // The reply has the offset that was asked for; the missed events that follow move it on.
      for (const publication of publications) this.#received(channel, publication)
    } else {
      history.add({ kind: wasRecovering ? 'reset' : 'join', subscriber: name, channel, offset })
    }
  }

  #receive(socket: WebSocket, visit: Visit, text: string): void {
    this.#options.watch.see(text)
    for (const line of text.split('\n')) {
      const frame = JSON.parse(line) as Frame
      if (frame.push !== undefined) this.#pushed(socket, visit, frame.push)
      else if (frame.id === undefined) socket.send('{}')
      // A refused command is tried again on another connection.
      else if (frame.error !== undefined) socket.terminate()
      else visit.answer(frame.id, frame)
    }
  }

  #pushed(socket: WebSocket, visit: Visit, { channel, pub, unsubscribe }: NonNullable<Frame['push']>): void {
    if (channel === undefined) return
    if (pub !== undefined) return this.#received(channel, pub)
    if (unsubscribe === undefined) return
    visit.unjoined += 1
    this.#join(socket, visit, channel)
  }

  #received(channel: string, { data, offset }: Publication): void {
    const { history } = this.#options
    const { type, operationId: id } = data
    if (offset === undefined)
      return history.add({ kind: 'unplaced', subscriber: this.name, channel, type, id })
    const event = { channel, offset, type, id, data: JSON.stringify(data.data) }
    history.add({ kind: 'deliver', subscriber: this.name, ...event })
    const place = this.#places.get(channel)
    if (place !== undefined) this.#places.set(channel, { ...place, offset })
  }

  /** The answer is read before whatever stands behind it in the same message. */
  #ask(socket: WebSocket, visit: Visit, command: object, read: (answer: Frame) => void): void {
    socket.send(JSON.stringify({ id: visit.ask(read), ...command }))
  }

  #after(ms: number, work: () => void): NodeJS.Timeout {
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      work()
    }, ms)
    this.#timers.add(timer)
    return timer
  }

  #cancel(timer: NodeJS.Timeout): void {
    clearTimeout(timer)
    this.#timers.delete(timer)
  }
}

/** Connection of a subscriber, from its opening to its end. */
class Visit {
  unjoined: number
  readonly #asked = new Map<number, (answer: Frame) => void>()
  #next = 0

  constructor(channels: number) {
    this.unjoined = channels
  }

  ask(read: (answer: Frame) => void): number {
    this.#next += 1
    this.#asked.set(this.#next, read)
    return this.#next
  }

  answer(id: number, answer: Frame): void {
    this.#asked.get(id)?.(answer)
    this.#asked.delete(id)
  }
}

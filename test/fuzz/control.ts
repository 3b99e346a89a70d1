import { WebSocket } from 'ws'
import { newOperationId } from '../../src/index.ts'

type Frame = Readonly<Record<string, unknown>> & { readonly id?: number }

/** A healthy connection that is used all the while: a round trip every 50 ms, and an event through the database. */
export class Control {
  readonly #socket: WebSocket
  readonly #asked = new Map<number, { readonly at: number; readonly answer: (frame: Frame) => void }>()
  readonly faults: string[] = []
  exchanges = 0
  events = 0
  slowestMs = 0
  #id = 10
  #timer: NodeJS.Timeout | undefined
  #ended = false

  private constructor(url: string) {
    this.#socket = new WebSocket(url)
    this.#socket.on('error', (error) => this.faults.push(`error: ${error.message}`))
    this.#socket.on('close', (code) => {
      if (!this.#ended) this.faults.push(`closed with ${code}`)
    })
    this.#socket.on('message', (data: Buffer) => {
      for (const line of data.toString().split('\n')) this.#take(JSON.parse(line) as Frame)
    })
  }

  static async open(url: string, token: string): Promise<Control> {
    const control = new Control(url)
    await new Promise((resolve) => control.#socket.once('open', resolve))
    await control.#ask({ connect: { token } })
    await control.#ask({ subscribe: { channel: 'room:control' } })
    control.#timer = setInterval(() => void control.#exchange(), 50)
    return control
  }

  /** Waits for all that was asked, and leaves. */
  async close(): Promise<void> {
    clearInterval(this.#timer)
    await this.#ask({ ping: {} })
    if (this.#asked.size > 0) this.faults.push(`${this.#asked.size} questions without an answer`)
    this.#ended = true
    this.#socket.terminate()
  }

  async #exchange(): Promise<void> {
    this.exchanges += 1
    const answer = await this.#ask({ ping: {} })
    if (answer['error'] !== undefined) this.faults.push(JSON.stringify(answer))
    if (this.exchanges % 10 !== 0) return
    const input = { room: 'control', text: String(this.exchanges) }
    const told = await this.#ask({ rpc: { method: 'note', data: { id: newOperationId(), input } } })
    if (!JSON.stringify(told).includes('"committed"')) this.faults.push(JSON.stringify(told))
  }

  #ask(command: object): Promise<Frame> {
    const id = (this.#id += 1)
    this.#socket.send(JSON.stringify({ id, ...command }))
    return new Promise((answer) => this.#asked.set(id, { at: performance.now(), answer }))
  }

  #take(frame: Frame): void {
    if (frame.id === undefined) return this.#heard(frame)
    const asked = this.#asked.get(frame.id)
    if (asked === undefined) {
      this.faults.push(`an answer to nothing: ${JSON.stringify(frame)}`)
      return
    }
    this.#asked.delete(frame.id)
    if (frame['rpc'] === undefined) this.slowestMs = Math.max(this.slowestMs, performance.now() - asked.at)
    asked.answer(frame)
  }

  #heard(frame: Frame): void {
    if (Object.keys(frame).length === 0) return this.#socket.send('{}')
    const { push } = frame as { push?: { channel: string; pub?: { offset?: number } } }
    if (push?.channel !== 'room:control' || push.pub?.offset === undefined) {
      this.faults.push(`a foreign push: ${JSON.stringify(frame)}`)
      return
    }
    // Attackers may write to it, too: what counts is that no offset is missing.
    this.events += 1
    if (push.pub.offset !== this.events)
      this.faults.push(`offset ${push.pub.offset} after ${this.events - 1}`)
  }
}

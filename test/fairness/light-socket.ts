// The client's end of a socket, light enough that a process can hold thousands of them.
import { createHmac } from 'node:crypto'
import { WebSocket } from 'ws'

export interface Reply {
  readonly id: number
  readonly error?: { readonly code: number; readonly message: string }
  readonly rpc?: { readonly data?: { readonly outcome?: string } }
}

export class LightSocket {
  readonly user: string
  /** Resolves when the server has answered `connect`. @throws Error when the socket closes before */
  readonly ready: Promise<void>
  /** Code of the close. */
  closeCode: number | undefined
  readonly #socket: WebSocket
  readonly #asked = new Map<number, (reply: Reply | undefined) => void>()
  #next = 1

  constructor(port: number, user: string, secret: string) {
    this.user = user
    const socket = new WebSocket(`ws://127.0.0.1:${port}/lockstep/ws`, { perMessageDeflate: false })
    this.#socket = socket
    socket.on('error', () => {})
    socket.on('message', (data: Buffer) => this.#read(data.toString()))
    const closed = new Promise<void>((resolve) => {
      socket.on('close', (code) => {
        this.closeCode = code
        for (const answer of this.#asked.values()) answer(undefined)
        this.#asked.clear()
        resolve()
      })
    })
    const opened = new Promise<void>((resolve) => socket.on('open', () => resolve()))
    this.ready = this.#connect(Promise.race([opened, closed]), tokenOf(user, secret))
    this.ready.catch(() => {})
  }

  get isOpen(): boolean {
    return this.closeCode === undefined
  }

  /** Sends a command; the answer is undefined when the socket has closed meanwhile. */
  ask(command: object): Promise<Reply | undefined> {
    if (!this.isOpen) return Promise.resolve(undefined)
    const id = this.#next++
    return new Promise((resolve) => {
      this.#asked.set(id, resolve)
      this.#socket.send(JSON.stringify({ id, ...command }))
    })
  }

  rpc(method: string, data: object): Promise<Reply | undefined> {
    return this.ask({ rpc: { method, data } })
  }

  subscribe(channel: string): Promise<Reply | undefined> {
    return this.ask({ subscribe: { channel } })
  }

  /** Stops reading from here on. */
  stopReading(): void {
    this.#socket.pause()
  }

  close(): void {
    this.#socket.terminate()
  }

  async #connect(opened: Promise<void>, token: string): Promise<void> {
    await opened
    const reply = await this.ask({ connect: { token } })
    if (reply?.error === undefined && reply !== undefined) return
    throw new Error(`a connection was refused: ${JSON.stringify(reply?.error ?? this.closeCode)}`)
  }

  #read(text: string): void {
    if (text === '{}') return this.#socket.send('{}')
    // Pushes are most of the traffic, and are not looked at here.
    if (text.startsWith('{"push"') && !text.includes('\n')) return
    for (const line of text.split('\n')) {
      if (line === '{}') this.#socket.send('{}')
      else if (line.startsWith('{"id"')) this.#answer(JSON.parse(line) as Reply)
    }
  }

  #answer(reply: Reply): void {
    const answer = this.#asked.get(reply.id)
    this.#asked.delete(reply.id)
    answer?.(reply)
  }
}

function tokenOf(user: string, secret: string): string {
  const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const exp = Math.floor(Date.now() / 1_000) + 3_600
  const signed = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode({ sub: user, exp })}`
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`
}

// A receiver of webhooks, and a log whose lines can be waited for.
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { silentLogger } from '../../src/core/index.ts'

export interface Received {
  readonly headers: IncomingMessage['headers']
  readonly body: string
}

type Answer = (response: ServerResponse, number: number, got: Received) => void

/** A real HTTP server that keeps what it is sent. */
export class WebhookReceiver {
  readonly received: Received[] = []
  readonly #server: Server
  #told: () => void = () => {}

  constructor(answer: Answer) {
    this.#server = createServer((request, response) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => {
        const got = { headers: request.headers, body: Buffer.concat(chunks).toString() }
        this.received.push(got)
        answer(response, this.received.length, got)
        this.#told()
      })
    })
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/hooks/s3cret-path`
  }

  async start(port = 0): Promise<this> {
    this.#server.listen(port, '127.0.0.1')
    await once(this.#server, 'listening')
    return this
  }

  async count(least: number): Promise<void> {
    while (this.received.length < least) await new Promise<void>((resolve) => (this.#told = resolve))
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections()
    if (this.#server.listening) await new Promise((resolve) => this.#server.close(resolve))
  }
}

export interface Line {
  readonly level: string
  readonly message: string
  readonly fields: Readonly<Record<string, unknown>>
}

/** Log lines, and a way to wait for one. */
export class LogLines {
  readonly all: Line[] = []
  #told: () => void = () => {}
  readonly logger = {
    ...silentLogger,
    info: this.#writer('info'),
    warn: this.#writer('warn'),
    error: this.#writer('error'),
  }

  of(pattern: RegExp): Line[] {
    return this.all.filter(({ message }) => pattern.test(message))
  }

  async until(pattern: RegExp, least = 1): Promise<Line[]> {
    while (this.of(pattern).length < least) await new Promise<void>((resolve) => (this.#told = resolve))
    return this.of(pattern)
  }

  #writer(level: string) {
    return (fields: Readonly<Record<string, unknown>>, message: string): void => {
      this.all.push({ level, message, fields })
      this.#told()
    }
  }
}

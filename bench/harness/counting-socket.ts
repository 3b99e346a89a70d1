// A socket that only counts: no WebSocket library, so that what receives costs as little as it can beside what sends.
import { randomBytes } from 'node:crypto'
import { connect, type Socket } from 'node:net'
import { FrameCounter, maskedText } from './frame-counter.ts'

/** How a server is spoken to. */
export type Wire = 'lockstep' | 'ws' | 'socket.io' | 'centrifugo'

export interface Greeting {
  readonly wire: Wire
  readonly port: number
  readonly channel: string
  /** Number of the socket, for a server that wants to know users apart. */
  readonly n: number
}

const paths: Readonly<Record<Wire, string>> = {
  lockstep: '/lockstep/ws',
  ws: '/',
  'socket.io': '/socket.io/?EIO=4&transport=websocket',
  centrifugo: '/connection/websocket',
}

/** Resolves when it has been let in; `hear` is told with whatever comes how many messages were in it. */
export function openCountingSocket(greeting: Greeting, hear: (messages: number) => void): Promise<Socket> {
  const { wire, port } = greeting
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    const letIn = (): void => resolve(socket)
    const answer = hello(greeting, socket, letIn)
    const counter = new FrameCounter()
    let head: Buffer | undefined = Buffer.alloc(0)
    socket.on('error', reject)
    socket.on('close', () => reject(new Error(`${wire} closed a socket`)))
    socket.write(
      `GET ${paths[wire]} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
        `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\nSec-WebSocket-Version: 13\r\n\r\n`,
    )
    socket.on('data', (data: Buffer) => {
      if (head === undefined) return hear(counter.count(data, answer))
      head = Buffer.concat([head, data])
      const end = head.indexOf('\r\n\r\n')
      if (end < 0) return
      const status = head.subarray(0, head.indexOf('\r\n')).toString()
      if (!status.includes(' 101 ')) return reject(new Error(`${wire} answered ${status}`))
      const rest = head.subarray(end + 4)
      head = undefined
      answer('')
      if (rest.length > 0) hear(counter.count(rest, answer))
    })
  })
}

/**
 * Answers messages of the server during the hello; an empty text is the end of the upgrade. Pings are answered, too.
 */
function hello({ wire, channel, n }: Greeting, socket: Socket, letIn: () => void): (text: string) => void {
  const say = (text: string): unknown => socket.write(maskedText(text))
  if (wire === 'ws') return () => letIn()
  if (wire === 'socket.io') {
    return (text) => {
      if (text.startsWith('0')) say('40')
      else if (text === '2') say('3')
      else if (text.startsWith('40')) letIn()
    }
  }
  return (text) => {
    if (text === '') {
      const connectCommand = { id: 1, connect: wire === 'lockstep' ? { token: `user${n}` } : {} }
      say(`${JSON.stringify(connectCommand)}\n${JSON.stringify({ id: 2, subscribe: { channel } })}`)
    } else if (text === '{}') say('{}')
    else if (text.includes('"error"')) socket.destroy(new Error(text))
    else if (text.includes('"id":2')) letIn()
  }
}

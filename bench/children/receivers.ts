// Sockets that only count: no WebSocket library, so that what receives costs as little as it can beside what sends.
import { randomBytes } from 'node:crypto'
import { connect, type Socket } from 'node:net'
import { answerBench, nowUs } from '../harness/child-host.ts'
import { FrameCounter, maskedText } from '../harness/frame-counter.ts'

/** How a server is spoken to. */
export type Wire = 'lockstep' | 'ws' | 'socket.io' | 'centrifugo'

export interface OpenRequest {
  readonly wire: Wire
  readonly port: number
  readonly count: number
  /** Channel of the n-th socket: this, with `{n}` replaced. */
  readonly channel: string
}

interface Group {
  readonly sockets: Socket[]
  messages: number
  lastUs: number
  wanted: number
  resolve: (() => void) | undefined
}

const paths: Readonly<Record<Wire, string>> = {
  lockstep: '/lockstep/ws',
  ws: '/',
  'socket.io': '/socket.io/?EIO=4&transport=websocket',
  centrifugo: '/connection/websocket',
}
const atOnce = 100
const patienceMs = 60_000
const groups: Group[] = []

answerBench({
  /** Resolves to the number of the group, when all have been let in. */
  open: async ({ wire, port, count, channel }: OpenRequest) => {
    const group: Group = { sockets: [], messages: 0, lastUs: 0, wanted: Infinity, resolve: undefined }
    for (let from = 0; from < count; from += atOnce) {
      const batch = Array.from({ length: Math.min(atOnce, count - from) }, (_, n) =>
        openSocket(group, wire, port, channel.replace('{n}', String(from + n)), from + n),
      )
      group.sockets.push(...(await Promise.all(batch)))
    }
    group.messages = 0
    return groups.push(group) - 1
  },
  /** Resolves to the moment the last of so many messages had come, counted from the last `reset`. */
  received: async ({ group: index, messages }: { readonly group: number; readonly messages: number }) => {
    const group = groupOf(index)
    group.wanted = messages
    if (group.messages < messages) {
      await new Promise<void>((resolve, reject) => {
        group.resolve = resolve
        setTimeout(() => reject(new Error(`${group.messages} of ${messages} messages arrived`)), patienceMs)
      })
    }
    return { lastUs: group.lastUs, messages: group.messages }
  },
  count: (index: number) => groupOf(index).messages,
  reset: (index: number) => void Object.assign(groupOf(index), { messages: 0, wanted: Infinity }),
  close: (index: number) => {
    for (const socket of groupOf(index).sockets) socket.destroy()
    groupOf(index).sockets.length = 0
  },
})

function groupOf(index: number): Group {
  const group = groups[index]
  if (group === undefined) throw new Error(`there is no group ${index}`)
  return group
}

function openSocket(group: Group, wire: Wire, port: number, channel: string, n: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    const letIn = (): void => resolve(socket)
    const answer = hello(wire, channel, n, socket, letIn)
    const counter = new FrameCounter()
    let head: Buffer | undefined = Buffer.alloc(0)
    socket.on('error', reject)
    socket.on('close', () => reject(new Error(`${wire} closed a socket`)))
    socket.write(
      `GET ${paths[wire]} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
        `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\nSec-WebSocket-Version: 13\r\n\r\n`,
    )
    const onFrames = (data: Buffer): void => {
      group.messages += counter.count(data, answer)
      group.lastUs = nowUs()
      if (group.messages < group.wanted) return
      group.wanted = Infinity
      group.resolve?.()
    }
    socket.on('data', (data: Buffer) => {
      if (head === undefined) return onFrames(data)
      head = Buffer.concat([head, data])
      const end = head.indexOf('\r\n\r\n')
      if (end < 0) return
      const status = head.subarray(0, head.indexOf('\r\n')).toString()
      if (!status.includes(' 101 ')) return reject(new Error(`${wire} answered ${status}`))
      const rest = head.subarray(end + 4)
      head = undefined
      answer('')
      if (rest.length > 0) onFrames(rest)
    })
  })
}

/** What is said to what a server says; an empty text is the end of the upgrade. Pings are answered. */
function hello(
  wire: Wire,
  channel: string,
  n: number,
  socket: Socket,
  letIn: () => void,
): (text: string) => void {
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

// Sockets that only count, in groups, and tell when all that was sent has come.
import type { Socket } from 'node:net'
import { answerBench, nowUs } from '../harness/child-host.ts'
import { openCountingSocket, type Wire } from '../harness/counting-socket.ts'

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

const atOnce = 100
const patienceMs = 60_000
const groups: Group[] = []

answerBench({
  /** Resolves to the number of the group, when all have been let in. */
  open: async ({ wire, port, count, channel }: OpenRequest) => {
    const group: Group = { sockets: [], messages: 0, lastUs: 0, wanted: Infinity, resolve: undefined }
    for (let from = 0; from < count; from += atOnce) {
      const batch = Array.from({ length: Math.min(atOnce, count - from) }, (_, place) => {
        const n = from + place
        const greeting = { wire, port, n, channel: channel.replace('{n}', String(n)) }
        return openCountingSocket(greeting, (messages) => arrived(group, messages))
      })
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

/** A ping alone is nothing that arrived. */
function arrived(group: Group, messages: number): void {
  if (messages === 0) return
  group.messages += messages
  group.lastUs = nowUs()
  if (group.messages < group.wanted) return
  group.wanted = Infinity
  group.resolve?.()
}

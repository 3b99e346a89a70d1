// Twenty users who do their worst within the limits, in a process of their own, so that their work is not the callers'.
//
// Each has as many sockets on each node as a user may have, and keeps more under way than is accepted: what is answered, or
// refused, is asked for again at once. So every limit stays full, and the gateway, not this process, decides how fast that
// goes. The process runs at a low priority. In the world abusers bring machines of their own, and here they would take
// half of a small one from the nodes, which no server could do anything about.
import { randomUUID } from 'node:crypto'
import { setPriority } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { newOperationId } from '../../src/index.ts'
import { defaultLimits } from '../../src/gateway/contract/gateway-options.ts'
import { endWithParent } from './end-with-parent.ts'
import { noDeeds, storms, type AbuserMessage, type Kind, type Storm } from './deeds.ts'
import { LightSocket, type Reply } from './light-socket.ts'

setPriority(10)
endWithParent()

const ports = (process.env['FAIRNESS_PORTS'] ?? '').split(',').map(Number)
const secret = process.env['FAIRNESS_SECRET'] ?? ''
const kinds: readonly Kind[] = storms[(process.env['FAIRNESS_STORM'] ?? 'busy') as Storm]
const users = 20
/** Sockets of each user, on each node. */
const sockets = defaultLimits.maxConnectionsPerUser
/** Sockets of each user, on each node, that call; the others listen. */
const busySockets = 2
/** Sockets of each user, on each node, that are not read. */
const unreadSockets = 1
/** Time that the gateway has for the first rush, in which it reads what it lets everybody send at once. */
const rushMs = 5_000
/** Pause between two writes to a socket that is not read: only by a write does the client learn that it was cut. */
const probeMs = 100

const deeds = noDeeds()
let isServing = false
let beganAt = Infinity

const tell = (message: AbuserMessage): void => void process.send?.(message)

/** Tells, once, when the first rush is over and work of each kind was served. */
function note(kind: Kind, answer: 'served' | 'refused'): void {
  deeds[kind][answer] += 1
  if (isServing || kinds.some((each) => deeds[each].served === 0)) return
  if (performance.now() - beganAt < rushMs) return
  isServing = true
  tell({ serving: deeds })
}

async function open(user: string, port: number, count: number): Promise<readonly LightSocket[]> {
  const opened = Array.from({ length: count }, () => new LightSocket(port, user, secret))
  await Promise.all(opened.map(({ ready }) => ready))
  return opened
}

/** Keeps so many requests under way on one socket, whatever the answers are. */
function keep(socket: LightSocket, count: number, kind: Kind, ask: () => Promise<Reply | undefined>): void {
  const loop = async (): Promise<void> => {
    while (socket.isOpen) {
      deeds[kind].waiting += 1
      const reply = await ask()
      deeds[kind].waiting -= 1
      if (reply !== undefined) note(kind, reply.error === undefined ? 'served' : 'refused')
    }
  }
  for (let n = 0; n < count; n += 1) void loop()
}

type Work = (user: string, all: readonly LightSocket[], port: number) => void

/** Makes twice as many calls as one user may have open. */
const callsOf =
  (kind: Kind, method: string, input: object): Work =>
  (user, all) => {
    for (const socket of all.slice(0, busySockets)) {
      const room = method === 'send' ? { room: user, n: 1 } : input
      keep(socket, defaultLimits.maxOutstandingCalls, kind, () =>
        socket.rpc(method, { id: newOperationId(), input: room }),
      )
    }
  }

const work: Readonly<Record<Kind, Work>> = {
  calls: callsOf('calls', 'send', {}),
  slow: callsOf('slow', 'slow', { holdMs: 3_000 }),
  failures: callsOf('failures', 'fail', {}),
  holds: callsOf('holds', 'slow', { holdMs: 40 }),
  questions: (_, all) => {
    for (const socket of all.slice(0, busySockets)) {
      keep(socket, 100, 'questions', () =>
        socket.rpc('lockstep.outcomes', { ids: Array.from({ length: 100 }, () => randomUUID()) }),
      )
    }
  },
  /** Subscribes to a new channel each time, and leaves it at once. */
  subscribes: (user, all) => {
    for (const [n, socket] of all.slice(0, busySockets).entries()) {
      let channel = 0
      keep(socket, defaultLimits.maxPendingCommands / 2, 'subscribes', async () => {
        const name = `room:${user}-${process.pid}-${n}-${(channel += 1)}`
        const subscribed = socket.subscribe(name)
        await socket.ask({ unsubscribe: { channel: name } })
        return subscribed
      })
    }
  },
  /** Sockets that ask for much and read nothing, and are opened again when the server has cut them. */
  unread: (user, all, port) => {
    const again = (): Promise<LightSocket> => open(user, port, 1).then(([one]) => one ?? again(), again)
    const loop = async (first: LightSocket): Promise<void> => {
      for (let socket = first; ; socket = await again()) {
        await socket.subscribe('room:0')
        socket.stopReading()
        for (let n = 0; n < 40; n += 1) void socket.rpc('big', {})
        while (socket.isOpen) {
          await sleep(probeMs)
          void socket.ask({ ping: {} })
        }
        note('unread', 'served')
      }
    }
    for (const socket of all.slice(0, unreadSockets)) void loop(socket)
  },
}

process.on('message', () => tell({ deeds }))
const opened: (() => void)[] = []
for (let n = 0; n < users; n += 1) {
  const kind = kinds[n % kinds.length] ?? 'calls'
  for (const port of ports) {
    const all = await open(`abuser${n}`, port, sockets)
    opened.push(() => work[kind](`abuser${n}`, all, port))
  }
}
// Starts the work of all sockets together, once none of them has to wait for a connection any more.
beganAt = performance.now()
for (const begin of opened) begin()

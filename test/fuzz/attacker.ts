import { connect } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import type { Random } from '../faults/random.ts'
import { connectFrame, handshake } from './corpus.ts'
import { closeCodesIn, frame } from './frames.ts'
import { hostileFrames, hostileHandshake } from './mutate.ts'

export interface Attack {
  readonly port: number
  readonly random: Random
  /** The attacker says who it is first, as some of them can. */
  readonly token: string | undefined
  readonly frames: number
}

export interface Ending {
  /** HTTP status of the handshake, 0 when there was none. */
  readonly status: number
  /** How the server closed; undefined when the attacker left first. */
  readonly code: number | undefined
  /** The peer closed with this code itself, so the same one comes back. */
  readonly echoes: boolean
  readonly receivedBytes: number
}

/** How long an attacker waits for a server that waits for more of it. */
const patienceMs = 250

/** Opens a connection, sends the hostile frames, and reports how it ended. */
export async function attack({ port, random, token, frames }: Attack): Promise<Ending> {
  const socket = connect(port, '127.0.0.1')
  const chunks: Buffer[] = []
  let gone = false
  const closed = new Promise<void>((resolve) => {
    socket.on('error', () => {})
    socket.on('close', () => {
      gone = true
      resolve()
    })
    socket.on('data', (chunk: Buffer) => {
      chunks.push(chunk)
      if (endOf(Buffer.concat(chunks)) !== undefined) resolve()
    })
  })
  const sent: Buffer[] = []
  if (token !== undefined) sent.push(connectFrame(token))
  // The last one ends what is still open.
  sent.push(...hostileFrames(random, frames), frame('the end'))
  const oddHandshake = random.chance(0.05)
  socket.write(oddHandshake ? hostileHandshake(random) : handshake)
  // Along with the handshake, in one piece, or cut anywhere.
  for (const bytes of sent) {
    if (random.chance(0.1)) {
      const cut = random.between(0, bytes.length)
      socket.write(bytes.subarray(0, cut))
      await pause(0)
      if (!gone) socket.write(bytes.subarray(cut))
    } else if (!gone) socket.write(bytes)
  }
  await Promise.race([closed, pause(patienceMs)])
  socket.destroy()
  const received = Buffer.concat(chunks)
  const code = endOf(received)
  const stream = Buffer.concat(sent)
  return {
    status: Number(/^HTTP\/1.1 (\d+)/.exec(received.toString('latin1', 0, 16))?.[1] ?? 0),
    code: code ?? (gone && isUpgraded(received) ? 1_006 : undefined),
    echoes: code !== undefined && closeCodesIn(stream).includes(code),
    receivedBytes: received.length,
  }
}

function isUpgraded(received: Buffer): boolean {
  return received.toString('latin1', 0, 12) === 'HTTP/1.1 101'
}

function endOf(received: Buffer): number | undefined {
  const head = received.indexOf('\r\n\r\n')
  return head < 0 || !isUpgraded(received) ? undefined : closeCodesIn(received, head + 4)[0]
}

// A plain socket that comes to a channel, or comes back to it.
import { WebSocket } from 'ws'

export interface Position {
  readonly epoch: string
  readonly offset?: number
}

export type Subscribed = Position & {
  readonly recovered?: boolean
  readonly publications?: readonly unknown[]
}

/** Sends the lines of a `connect` and a `subscribe` with the id 2; resolves to what answers the latter. */
export async function join(url: string, message: string): Promise<{ socket: WebSocket; result: Subscribed }> {
  const socket = new WebSocket(url, { perMessageDeflate: false })
  socket.on('error', () => {})
  const answered = new Promise<Subscribed>((resolve, reject) => {
    socket.on('close', (code) => reject(new Error(`closed with ${code}`)))
    socket.on('message', (data: Buffer) => {
      for (const line of data.toString().split('\n')) {
        const { id, subscribe, error } = JSON.parse(line) as {
          id?: number
          subscribe?: Subscribed
          error?: object
        }
        if (error !== undefined) reject(new Error(JSON.stringify(error)))
        if (id === 2 && subscribe !== undefined) resolve(subscribe)
      }
    })
  })
  socket.on('open', () => socket.send(message))
  const result = await answered
  socket.removeAllListeners('close')
  return { socket, result }
}

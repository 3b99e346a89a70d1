// Plain sockets that come back, one after the other on each of a few workers: a new connection, a recovery, and gone.
import { answerBench } from '../harness/child-host.ts'
import { join, type Position } from '../harness/join.ts'
import { closedLoop, type ClosedLoad, type ClosedResult } from '../harness/load.ts'

export interface ReturnLoad extends ClosedLoad {
  readonly port: number
  readonly channels: number
  /** Events that each of them has missed. */
  readonly missed: number
}

const lines = (channel: string, recovery: object = {}): string =>
  [{ connect: { token: 'returner' } }, { subscribe: { channel, ...recovery } }]
    .map((command, place) => JSON.stringify({ id: place + 1, ...command }))
    .join('\n')

answerBench({
  /** @throws when one of them does not get just what it missed */
  come: async ({ port, channels, missed, ...load }: ReturnLoad): Promise<ClosedResult> => {
    const url = `ws://127.0.0.1:${port}/lockstep/ws`
    const heads: (readonly [channel: string, head: Position])[] = []
    for (let n = 0; n < channels; n += 1) {
      const channel = `room:c${n}`
      const { socket, result } = await join(url, lines(channel))
      socket.terminate()
      heads.push([channel, result])
    }
    return closedLoop(load, async (n) => {
      const [channel, { epoch, offset = 0 }] = heads[n % channels] as (typeof heads)[number]
      const { socket, result } = await join(
        url,
        lines(channel, { recover: true, epoch, offset: offset - missed }),
      )
      socket.terminate()
      const { recovered, publications = [] } = result
      if (recovered !== true || publications.length !== missed)
        throw new Error(`${channel}: recovered ${publications.length} of ${missed} events`)
    })
  },
})

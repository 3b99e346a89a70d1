import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface Memory {
  readonly heapBytes: number
  readonly rssBytes: number
}

/** The server's end of the talk with the bench: `memory`, and what else it can be asked for. */
export function answerParent(server: Server, more: Readonly<Record<string, () => unknown>>): void {
  const questions: Readonly<Record<string, () => unknown>> = { memory: () => memory(server), ...more }
  process.on('message', (question) => {
    void Promise.resolve(questions[String(question)]?.()).then((answer) => process.send?.({ answer }))
  })
  process.on('disconnect', () => process.exit(0))
  // The backlog of a storm; the kernel's own bound is net.core.somaxconn.
  server.listen({ port: 0, host: '127.0.0.1', backlog: 8_192 }, () => {
    process.send?.({ answer: (server.address() as AddressInfo).port })
  })
}

/** After all sockets that were closed have gone, and what they held with them. */
async function memory(server: Server): Promise<Memory> {
  await settled(server)
  for (let round = 0; round < 4; round += 1) {
    globalThis.gc?.()
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  const { heapUsed, external, rss } = process.memoryUsage()
  return { heapBytes: heapUsed + external, rssBytes: rss }
}

/** The number of connections has stopped changing. */
async function settled(server: Server): Promise<void> {
  let before = -1
  for (;;) {
    const count = await new Promise<number>((resolve) =>
      server.getConnections((_error, open) => resolve(open)),
    )
    if (count === before) return
    before = count
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

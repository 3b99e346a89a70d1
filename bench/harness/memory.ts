import type { Server } from 'node:http'

export interface Memory {
  readonly heapBytes: number
  readonly rssBytes: number
}

/** Measures the memory after all closed sockets have gone, and what they held with them. */
export async function memoryOf(server: Server): Promise<Memory> {
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

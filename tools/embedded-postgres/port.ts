import { randomInt } from 'node:crypto'
import { createServer } from 'node:net'

// Lowest port, below the range from which systems take the local ports of outgoing connections: one of those could
// otherwise sit on
// the server's port while the server restarts, or a client could even connect to itself.
const lowest = 15_000
const highest = 30_000
const attempts = 50

/** A port of 127.0.0.1 that was free a moment ago. */
export async function pickFreePort(): Promise<number> {
  for (let attempt = 0; attempt < attempts; attempt++) {
    const port = randomInt(lowest, highest)
    if (await isFree(port)) return port
  }
  throw new Error(`no free port found between ${lowest} and ${highest}`)
}

const isFree = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const probe = createServer()
    probe.once('error', () => resolve(false))
    probe.listen({ port, host: '127.0.0.1' }, () => probe.close(() => resolve(true)))
  })

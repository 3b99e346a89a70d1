import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { startEmbeddedPostgres } from '../../../tools/embedded-postgres/index.ts'
import { ClusterNode } from './cluster-node.ts'
import { ClusterProxy } from './cluster-proxy.ts'
import { ConfigError, readConfig } from './config.ts'
import { firstSignal } from './signals.ts'

const nodeCount = 3

/** Runs the demo as several processes over one Postgres, behind one address, until a signal. */
export async function main(options: { readonly entry: string }): Promise<void> {
  const signalled = firstSignal()
  try {
    const stop = await start(options.entry, signalled)
    await signalled
    log('stopping')
    await stop()
    process.exit(0)
  } catch (error) {
    log(error instanceof Error ? error.message : String(error))
    process.exit(1)
  }
}

async function start(entry: string, signalled: Promise<void>): Promise<() => Promise<void>> {
  const killEveryMs = readKillEvery(process.argv.slice(2))
  const config = readConfig([], process.env)
  const postgres = await openPostgres(config.databaseUrl, join(config.dataDirectory, 'postgres'))
  const env = {
    ...process.env,
    DATABASE_URL: postgres.url,
    HOST: '127.0.0.1',
    PORT: '0',
    LOCKSTEP_SECRET: config.secret,
    LOCKSTEP_CLUSTER: '1',
    LOCKSTEP_CLUSTER_HOST: config.host,
  }
  const nodes: ClusterNode[] = Array.from({ length: nodeCount }, (_, index) => {
    const name = `node ${index + 1}`
    return new ClusterNode({ name, entry, env, log, onKillWanted: () => void killBusiest() })
  })
  const proxy = new ClusterProxy(nodes)
  const serving = (): ClusterNode[] => nodes.filter(({ port }) => port !== undefined)
  // Kill the node with the most clients, so that the user sees the effect on somebody.
  const killBusiest = async (): Promise<void> => {
    const counted = await Promise.all(
      serving().map(async (node) => ({ node, clients: await node.clients() })),
    )
    const [busiest] = counted.toSorted((a, b) => b.clients - a.clients)
    if (busiest === undefined) return
    log(`killing ${busiest.node.name}, with ${busiest.clients} clients`)
    busiest.node.kill()
  }
  // Kill only while another node serves: with nobody left there is nothing to see.
  const killOneOfSeveral = (): void => {
    if (serving().length > 1) void killBusiest()
  }
  let timer: NodeJS.Timeout | undefined
  const stop = async (): Promise<void> => {
    clearInterval(timer)
    // Let the nodes close their sockets, with a code that tells clients to come back.
    await Promise.all(nodes.map((node) => node.stop()))
    proxy.close()
    await postgres.stop()
  }
  const ready = Promise.all(nodes.map((node) => node.ready))
  const isReady = await Promise.race([ready.then(() => true), signalled.then(() => false)])
  if (!isReady) return stop
  proxy.server.listen(config.port, config.host)
  await once(proxy.server, 'listening')
  if (killEveryMs !== undefined) timer = setInterval(killOneOfSeveral, killEveryMs)
  log(`${nodeCount} nodes, data: ${postgres.description}`)
  log(`open http://localhost:${(proxy.server.address() as AddressInfo).port}`)
  return stop
}

interface Postgres {
  readonly url: string
  readonly description: string
  stop(): Promise<void>
}

async function openPostgres(given: string | undefined, directory: string): Promise<Postgres> {
  if (given !== undefined)
    return { url: given, description: 'the database of DATABASE_URL', stop: async () => {} }
  const server = await startEmbeddedPostgres({ directory, log })
  return {
    url: server.url,
    description: `embedded Postgres in ${directory}`,
    async stop() {
      await server.stop()
    },
  }
}

function readKillEvery(argv: readonly string[]): number | undefined {
  let text: string | undefined
  try {
    text = parseArgs({ args: [...argv], options: { 'kill-every': { type: 'string' } } }).values['kill-every']
  } catch (error) {
    const message = `${(error as Error).message}. The only flag is --kill-every <seconds>.`
    throw new ConfigError(message, { cause: error })
  }
  if (text === undefined) return undefined
  const seconds = Number(text)
  if (seconds > 0 && seconds <= 86_400) return seconds * 1_000
  throw new ConfigError(`--kill-every is "${text}"; it must be a number of seconds.`)
}

function log(line: string): void {
  console.log(`lockstep cluster: ${line}`)
}

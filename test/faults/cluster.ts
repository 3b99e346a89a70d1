// Server processes on one Postgres, with a fault proxy on either leg: to the database, and from the clients.
import { closeSync, openSync } from 'node:fs'
import pg from 'pg'
import { databaseUrl } from '../../tools/embedded-postgres/index.ts'
import { createBusLeg, type BusKind, type BusLeg } from './bus-leg.ts'
import { unexpectedExit } from './check-recovery.ts'
import { interceptCommits, type ChooseCommitFault } from './commit-faults.ts'
import type { History } from './history.ts'
import type { NodeConfig } from './node.ts'
import { NodeProcess } from './node-process.ts'
import { businessTables } from './oracle.ts'
import { createFaultProxy, type FaultProxy, type Interceptor, type Link } from './proxy.ts'
import { killName } from './check-weight.ts'

export const secret = 'a secret of the fault lanes, which is long enough'

export interface ClusterOptions {
  readonly bundle: string
  readonly nodes: number
  readonly history: History
  /** Address of the server, as its superuser. */
  readonly serverUrl: string
  /** Port at which the nodes reach the server. Default: the port of `serverUrl`. */
  readonly postgresPort?: () => number | undefined
  /** Name of the database, made by `createCluster`. */
  readonly database: string
  readonly config?: Partial<NodeConfig>
  /** Bus between the nodes. Default: as `config` says. */
  readonly bus?: BusKind
  readonly chooseCommitFault?: ChooseCommitFault
  /** File of the nodes' logs, for people. */
  readonly logFile?: string
  /** Restart killed nodes at once; false: they stay dead until they are started by hand. Default true. */
  readonly restart?: boolean
}

/** Place of one process; the process in it changes as nodes are killed. */
export interface Slot {
  readonly index: number
  node: NodeProcess
}

export interface Cluster {
  readonly slots: readonly Slot[]
  /** Proxy between the nodes and the database. */
  readonly postgresLeg: FaultProxy
  /** Proxy between the clients and the nodes; each connection goes to one of the living nodes. */
  readonly clientLeg: FaultProxy
  readonly busLeg: BusLeg
  /** Address for clients. */
  readonly url: string
  /** Address of the database, past the proxy. */
  readonly directUrl: string
  /** Sends clients to this node only; undefined: to any. */
  prefer(slot: Slot | undefined): void
  kill(slot: Slot): Promise<void>
  /** Starts all nodes that are not alive, and waits until all serve. */
  heal(): Promise<void>
  close(): Promise<void>
}

export async function createCluster(options: ClusterOptions): Promise<Cluster> {
  const { history, nodes, chooseCommitFault = () => undefined } = options
  const directUrl = databaseUrl(options.serverUrl, options.database)
  await createDatabase(options.serverUrl, options.database, directUrl)
  const log = options.logFile === undefined ? undefined : openSync(options.logFile, 'a')
  const postgresPort = Number(new URL(options.serverUrl).port)
  const listening = new WatchedLinks()
  const postgresLeg = await createFaultProxy({
    target: options.postgresPort ?? (() => postgresPort),
    intercept: (link) =>
      listening.watch(
        link,
        interceptCommits(link, chooseCommitFault, () => listening.add(link)),
      ),
  })
  const busLeg = await createBusLeg(options.bus, {
    listening: () => [...postgresLeg.links].filter((link) => listening.has(link)),
    get bytesHeard() {
      return listening.bytesHeard
    },
  })
  const proxiedUrl = new URL(directUrl)
  proxiedUrl.port = String(postgresLeg.port)

  let preferred: Slot | undefined
  let turn = 0
  let closing = false
  const spawnNode = (slot: { index: number }): NodeProcess => {
    const node = new NodeProcess({
      bundle: options.bundle,
      config: {
        databaseUrl: proxiedUrl.href,
        secret,
        ...(options.bus === undefined ? {} : { bus: busLeg.configFor(slot.index) }),
        // The memory bus does not leave its process, so all of its nodes are in one.
        ...(options.bus === 'memory' ? { nodes } : {}),
        ...options.config,
      },
      ...(log === undefined ? {} : { log }),
      onReached: (point) =>
        history.add({ kind: 'fault', fault: `reached/${point}`, detail: `node ${slot.index}` }),
    })
    void watch(slot as Slot, node)
    return node
  }
  const watch = async (slot: Slot, node: NodeProcess): Promise<void> => {
    const { code, signal } = await node.exited
    const ended = node.ended
    if (ended === undefined && !closing) {
      const detail = `node ${slot.index}: ${signal ?? `exit code ${code}`}`
      history.add({ kind: 'fault', fault: unexpectedExit, detail })
    } else if (ended !== undefined && ended !== 'SIGTERM') {
      history.add({ kind: 'fault', fault: ended === 'SIGKILL' ? killName : `${killName}/${ended}` })
    }
    if (!closing && options.restart !== false && slot.node === node) slot.node = spawnNode(slot)
  }
  const slots: Slot[] = Array.from({ length: options.bus === 'memory' ? 1 : nodes }, (_, index) => {
    const slot = { index } as Slot
    slot.node = spawnNode(slot)
    return slot
  })
  await Promise.all(slots.map((slot) => slot.node.ready))

  const clientLeg = await createFaultProxy({
    target: () => {
      const serving = (preferred === undefined ? slots : [preferred]).flatMap(({ node }) => node.ports)
      return serving[turn++ % serving.length]
    },
  })

  return {
    slots,
    postgresLeg,
    clientLeg,
    busLeg,
    url: `ws://127.0.0.1:${clientLeg.port}/lockstep/ws`,
    directUrl,
    prefer: (slot) => {
      preferred = slot
    },
    kill: async ({ node }) => {
      await node.kill()
    },
    async heal() {
      await busLeg.heal()
      for (const leg of [postgresLeg, clientLeg]) {
        leg.refusing = false
        for (const link of leg.links) link.heal()
      }
      for (const { node } of slots) node.signal('SIGCONT')
      // Faults that were prepared and not met must not come after the last one.
      await Promise.all(slots.map(({ node }) => node.disarm()))
      for (const slot of slots) if (!slot.node.alive) slot.node = spawnNode(slot)
      // A node that was about to exit just now is replaced by another, which the second try waits for.
      await Promise.all(slots.map((slot) => slot.node.ready.catch(() => slot.node.ready)))
    },
    async close() {
      closing = true
      await Promise.all(slots.map(({ node }) => node.kill()))
      await Promise.all([clientLeg.close(), postgresLeg.close(), busLeg.close()])
      if (log !== undefined) closeSync(log)
    },
  }
}

/** Connections by which nodes listen, and what came over them. */
class WatchedLinks {
  readonly #links = new WeakSet<Link>()
  bytesHeard = 0

  add(link: Link): void {
    this.#links.add(link)
  }

  has(link: Link): boolean {
    return this.#links.has(link)
  }

  watch(link: Link, inner: Interceptor): Interceptor {
    return {
      up: (bytes) => inner.up(bytes),
      down: (bytes) => {
        if (this.has(link)) this.bytesHeard += bytes.length
        inner.down(bytes)
      },
      clientGone: () => inner.clientGone?.() === true,
    }
  }
}

async function createDatabase(serverUrl: string, name: string, url: string): Promise<void> {
  const server = new pg.Client({ connectionString: serverUrl })
  await server.connect()
  await server.query(`create database "${name}"`)
  await server.end()
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  await client.query(businessTables)
  await client.end()
}

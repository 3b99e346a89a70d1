// Server processes on one Postgres, with a fault proxy on either leg: to the database, and from the clients.
import { closeSync, openSync } from 'node:fs'
import pg from 'pg'
import { databaseUrl } from '../../tools/embedded-postgres/index.ts'
import { unexpectedExit } from './check-recovery.ts'
import { interceptCommits, type ChooseCommitFault } from './commit-faults.ts'
import type { History } from './history.ts'
import type { NodeConfig } from './node.ts'
import { NodeProcess } from './node-process.ts'
import { businessTables } from './oracle.ts'
import { createFaultProxy, type FaultProxy } from './proxy.ts'
import { killName } from './check-weight.ts'

export const secret = 'a secret of the fault lanes, which is long enough'

export interface ClusterOptions {
  readonly bundle: string
  readonly nodes: number
  readonly history: History
  /** The server, as its superuser. */
  readonly serverUrl: string
  /** Made by `createCluster`. */
  readonly database: string
  readonly config?: Partial<NodeConfig>
  readonly chooseCommitFault?: ChooseCommitFault
  /** Where the nodes write their logs, for people. */
  readonly logFile?: string
  /** False: what is killed stays dead until it is started by hand. Default true. */
  readonly restart?: boolean
}

/** Place of one process; who stands in it changes as processes are killed. */
export interface Slot {
  readonly index: number
  node: NodeProcess
}

export interface Cluster {
  readonly slots: readonly Slot[]
  /** To the database. */
  readonly postgresLeg: FaultProxy
  /** From the clients; each connection goes to one of the living nodes. */
  readonly clientLeg: FaultProxy
  /** For clients. */
  readonly url: string
  /** Past the proxy. */
  readonly directUrl: string
  /** Sends clients to this node only; undefined: to any. */
  prefer(slot: Slot | undefined): void
  kill(slot: Slot): Promise<void>
  /** Starts whatever is not alive, and waits until all serve. */
  heal(): Promise<void>
  close(): Promise<void>
}

export async function createCluster(options: ClusterOptions): Promise<Cluster> {
  const { history, nodes, chooseCommitFault = () => undefined } = options
  const directUrl = databaseUrl(options.serverUrl, options.database)
  await createDatabase(options.serverUrl, options.database, directUrl)
  const log = options.logFile === undefined ? undefined : openSync(options.logFile, 'a')
  const postgresPort = Number(new URL(options.serverUrl).port)
  const postgresLeg = await createFaultProxy({
    target: () => postgresPort,
    intercept: (link) => interceptCommits(link, chooseCommitFault),
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
  const slots: Slot[] = Array.from({ length: nodes }, (_, index) => {
    const slot = { index } as Slot
    slot.node = spawnNode(slot)
    return slot
  })
  await Promise.all(slots.map((slot) => slot.node.ready))

  const clientLeg = await createFaultProxy({
    target: () => {
      const ports = (preferred === undefined ? slots : [preferred]).map(({ node }) => node.port)
      const serving = ports.filter((port) => port !== undefined)
      return serving[turn++ % serving.length]
    },
  })

  return {
    slots,
    postgresLeg,
    clientLeg,
    url: `ws://127.0.0.1:${clientLeg.port}/lockstep/ws`,
    directUrl,
    prefer: (slot) => {
      preferred = slot
    },
    kill: async ({ node }) => {
      await node.kill()
    },
    async heal() {
      for (const leg of [postgresLeg, clientLeg]) {
        leg.refusing = false
        for (const link of leg.links) link.heal()
      }
      for (const slot of slots) {
        slot.node.signal('SIGCONT')
        if (!slot.node.alive) slot.node = spawnNode(slot)
      }
      // One that was on its way out when it was looked at is replaced by another.
      await Promise.all(slots.map((slot) => slot.node.ready.catch(() => slot.node.ready)))
    },
    async close() {
      closing = true
      await Promise.all(slots.map(({ node }) => node.kill()))
      await Promise.all([clientLeg.close(), postgresLeg.close()])
      if (log !== undefined) closeSync(log)
    },
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

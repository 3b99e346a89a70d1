// The way between the nodes and their bus: a real broker where there is one, and the fault proxy before it.
import { startNats, startRedis, type Broker } from '../support/brokers.ts'
import type { NodeConfig } from './node.ts'
import { createFaultProxy, type FaultProxy, type Link } from './proxy.ts'

export const busKinds = ['memory', 'postgres', 'redis', 'nats'] as const
export type BusKind = (typeof busKinds)[number]

export interface BusLeg {
  /** Broker of the bus; absent for a bus within one process, or over the database. */
  readonly broker: Broker | undefined
  /** Connections that the bus goes over now. */
  links(): readonly Link[]
  /** Bytes that the nodes have been sent over the bus so far. */
  readonly bytesHeard: number
  /** The bus of a node, with the clients that its application would give it. */
  configFor(index: number): NodeConfig['bus']
  /** Starts a broker that was killed, and ends the faults of its connections. */
  heal(): Promise<void>
  close(): Promise<void>
}

export interface PostgresLinks {
  /** Connections over which a node listens. */
  listening(): readonly Link[]
  readonly bytesHeard: number
}

/** @param postgres for the bus over the database, whose connections are among all others to it */
export async function createBusLeg(kind: BusKind | undefined, postgres: PostgresLinks): Promise<BusLeg> {
  if (kind === 'redis') {
    return brokeredLeg(await startRedis(), (port, index) => {
      return { kind, port, client: index % 2 === 0 ? 'ioredis' : 'redis' }
    })
  }
  if (kind === 'nats') return brokeredLeg(await startNats(), (port) => ({ kind, port }))
  if (kind === 'memory')
    return { ...withoutBroker, links: () => [], bytesHeard: 0, configFor: () => ({ kind }) }
  return {
    ...withoutBroker,
    links: () => postgres.listening(),
    get bytesHeard() {
      return postgres.bytesHeard
    },
    configFor: () => (kind === undefined ? undefined : { kind }),
  }
}

const withoutBroker = { broker: undefined, heal: async () => {}, close: async () => {} }

async function brokeredLeg(
  broker: Broker,
  configFor: (port: number, index: number) => NodeConfig['bus'],
): Promise<BusLeg> {
  let bytesHeard = 0
  const proxy: FaultProxy = await createFaultProxy({
    target: () => broker.port,
    intercept: (link) => ({
      up: (bytes) => link.pass('up', bytes),
      down(bytes) {
        bytesHeard += bytes.length
        link.pass('down', bytes)
      },
    }),
  })
  return {
    broker,
    links: () => [...proxy.links],
    get bytesHeard() {
      return bytesHeard
    },
    configFor: (index) => configFor(proxy.port, index),
    async heal() {
      await broker.start()
      for (const link of proxy.links) link.heal()
    },
    async close() {
      await proxy.close()
      await broker.close()
    },
  }
}

// Lanes that compare two builds. They use only old parts of the public door, so that an older build can run them.
import { gzipSync } from 'node:zlib'
import { join } from 'node:path'
import { build as bundle, type Rolldown } from 'vite'
import type { BroadcasterConfig } from '../children/broadcaster.ts'
import type { PublisherConfig, PublishWarmUp } from '../children/publisher.ts'
import type { OpenRequest } from '../children/receivers.ts'
import type { ReturnLoad } from '../children/returners.ts'
import type { SubscribeRequest } from '../children/subscribers.ts'
import type { TransactorConfig } from '../children/transactor.ts'
import { roomName } from '../harness/broadcast.ts'
import { Child, endAll } from '../harness/child.ts'
import type { ClosedResult } from '../harness/load.ts'
import { processCpuUs } from '../harness/process-cpu.ts'
import { publishTurn, received, type Publishing } from '../harness/publishing.ts'
import { pumpTurn, type Pumping } from '../harness/pumping.ts'
import { transactorSchema } from '../harness/transactor-schema.ts'
import { startTransactor, turn, warmUp } from '../harness/turn.ts'
import type { ComparedLane, Setting } from './compared-lane.ts'

/** Operations after which nearly all code is compiled; the rest meets both builds alike. */
const warmUpOperations = 4_000
const cpuEach = 'CPU of Node and Postgres, µs each'

interface Operations {
  readonly connections: number
  readonly channels: number
}

const operations = (name: string, about: string, { connections, channels }: Operations): ComparedLane => ({
  name,
  about,
  figures: [
    { name: 'operations/s', better: 'higher' },
    { name: cpuEach, better: 'lower' },
  ],
  async start({ build, postgres, warmUpSeconds }) {
    const config: TransactorConfig = {
      databaseUrl: await postgres.createDatabase(transactorSchema),
      variant: 'lockstep',
      connections,
    }
    const transactor = await startTransactor(config, build)
    const load = { workers: connections, channels }
    await warmUp(postgres, [transactor], { ...load, atMostSeconds: warmUpSeconds }, warmUpOperations)
    return {
      async turn(seconds) {
        const found = await turn(postgres, transactor, { ...load, seconds })
        return {
          'operations/s': found.perSecond,
          [cpuEach]: found.cpuUsPerOperation + found.postgresUsPerOperation,
        }
      },
      close: () => transactor.child.end(),
    }
  },
})

/** A process of bench/children/publisher.ts that has committed so many messages to its channels, and its database. */
async function startPublisher({ build, postgres }: Setting, config: Omit<PublisherConfig, 'databaseUrl'>) {
  const databaseUrl = await postgres.createDatabase(transactorSchema)
  const child = await Child.start('publisher.ts', { ...config, databaseUrl } satisfies PublisherConfig, build)
  return { child, databaseUrl, port: await child.ask<number>('port') }
}

const publishing = { channels: 10, perSecond: 200, leastSeconds: 1.5 } as const

const commit: ComparedLane = {
  name: 'commit',
  about: `from COMMIT acknowledged to the callback of a subscriber, at ${publishing.perSecond} operations a second`,
  figures: [
    { name: 'p50, ms', better: 'lower' },
    { name: 'p99, ms', better: 'lower' },
  ],
  async start(setting) {
    const { channels, perSecond, leastSeconds } = publishing
    const { child: writer, databaseUrl, port } = await startPublisher(setting, { variant: 'lockstep' })
    const clients = await Child.start('subscribers.ts', {})
    const request: SubscribeRequest = { client: 'lockstep', ports: [port], channels }
    const group = await clients.ask<number>('subscribe', request)
    const running: Publishing = { name: 'commit', writer, clients, group, receivers: 1 }
    const load: PublishWarmUp = {
      workers: 8,
      operations: warmUpOperations,
      channels,
      atMostSeconds: setting.warmUpSeconds,
    }
    await received(running, await writer.ask<number>('warmUp', load))
    await setting.postgres.tidy(databaseUrl)
    return {
      async turn(seconds) {
        const { committed } = await publishTurn(running, {
          channels,
          perSecond,
          seconds: Math.max(seconds, leastSeconds),
        })
        return { 'p50, ms': committed.p50, 'p99, ms': committed.p99 }
      },
      close: () => endAll([writer, clients]),
    }
  },
}

const crowd = 1_000

const fanout: ComparedLane = {
  name: 'fanout',
  about: `single committed events to ${crowd.toLocaleString('en')} sockets of one channel`,
  figures: [
    { name: 'deliveries/s', better: 'higher' },
    { name: 'deliveries per second of CPU', better: 'higher' },
  ],
  async start({ build, postgres, warmUpSeconds }) {
    const config: BroadcasterConfig = {
      variant: 'lockstep-commit',
      databaseUrl: await postgres.createDatabase(),
    }
    const [server, receiver] = await Promise.all([
      Child.start('broadcaster.ts', config, build),
      Child.start('receivers.ts', {}),
    ])
    const port = await server.ask<number>('port')
    const open = async (sockets: number): Promise<Pumping> => {
      const request: OpenRequest = { wire: 'lockstep', port, count: sockets, channel: roomName }
      return { server, receiver, group: await receiver.ask<number>('open', request), sockets }
    }
    // Send to one socket first: with many, what a server does once for an event would be done too seldom to be
    // compiled.
    const one = await open(1)
    await pumpTurn(one, { burst: 1, seconds: Math.min(3, warmUpSeconds) })
    await receiver.ask('close', one.group)
    const all = await open(crowd)
    await pumpTurn(all, { burst: 1, seconds: Math.min(1, warmUpSeconds) })
    return {
      async turn(seconds) {
        const { perSecond, perCoreSecond } = await pumpTurn(all, { burst: 1, seconds })
        return { 'deliveries/s': perSecond, 'deliveries per second of CPU': perCoreSecond }
      },
      close: () => endAll([server, receiver]),
    }
  },
}

const returning = { workers: 4, channels: 10, missed: 50 } as const

const recover: ComparedLane = {
  name: 'recover',
  about: `a plain socket connects and recovers the ${returning.missed} events that it missed`,
  figures: [
    { name: 'recoveries/s', better: 'higher' },
    { name: cpuEach, better: 'lower' },
  ],
  async start(setting) {
    const { child: server, databaseUrl, port } = await startPublisher(setting, { variant: 'lockstep' })
    const events: PublishWarmUp = { workers: 8, operations: 1_000, channels: returning.channels }
    await server.ask('warmUp', events)
    await setting.postgres.tidy(databaseUrl)
    const sockets = await Child.start('returners.ts', {})
    const come = (seconds: number): Promise<ClosedResult> =>
      sockets.ask<ClosedResult>('come', { ...returning, port, seconds } satisfies ReturnLoad)
    const cpuUs = async (): Promise<number> =>
      ((await processCpuUs(server.pid)) ?? Number.NaN) + (await setting.postgres.cpuUs(databaseUrl))
    await come(Math.min(2, setting.warmUpSeconds))
    return {
      async turn(seconds) {
        const before = await cpuUs()
        const { perSecond, operations: count } = await come(seconds)
        return { 'recoveries/s': perSecond, [cpuEach]: ((await cpuUs()) - before) / count }
      },
      close: () => endAll([server, sockets]),
    }
  },
}

const client: ComparedLane = {
  name: 'client',
  about: 'lockstep/client with all that it needs, minified and compressed',
  figures: [{ name: 'bytes', better: 'lower' }],
  exact: true,
  async start({ build }) {
    const found = await bundle({
      configFile: false,
      logLevel: 'silent',
      build: {
        write: false,
        minify: true,
        // Build an application, not a library: those keep their white space.
        rolldownOptions: {
          input: join(build.library, 'client', 'index.js'),
          preserveEntrySignatures: 'strict',
        },
      },
    })
    const { output } = found as Rolldown.RolldownOutput
    const bytes = gzipSync(output.map((chunk) => ('code' in chunk ? chunk.code : '')).join('')).length
    return { turn: async () => ({ bytes }), close: async () => {} }
  },
}

export const comparedLanes: readonly ComparedLane[] = [
  operations('one', 'operations on one connection, over 1,000 channels', { connections: 1, channels: 1_000 }),
  operations('many', 'operations on 16 connections, over 1,000 channels', {
    connections: 16,
    channels: 1_000,
  }),
  operations('hot', 'operations on 16 connections, all on one channel', { connections: 16, channels: 1 }),
  commit,
  fanout,
  recover,
  client,
]

import type { BroadcasterConfig, BroadcastVariant, Pump } from '../children/broadcaster.ts'
import type { OpenRequest, Wire } from '../children/receivers.ts'
import { Child, endAll } from '../harness/child.ts'
import { rounded, type Cell, type Lane, type LaneContext, type Table } from '../harness/lane.ts'
import { interleave, medianOf, ratioOf, type Ratio, type Rounds } from '../harness/rounds.ts'

const names: Readonly<Record<BroadcastVariant, string>> = {
  lockstep: 'Lockstep',
  'lockstep-commit': 'Lockstep, with a commit for each turn',
  ws: 'bare `ws` loop, text',
  'ws-buffer': 'bare `ws` loop, Buffer',
  'socket.io': 'Socket.IO',
}
const wires: Readonly<Record<BroadcastVariant, Wire>> = {
  lockstep: 'lockstep',
  'lockstep-commit': 'lockstep',
  ws: 'ws',
  'ws-buffer': 'ws',
  'socket.io': 'socket.io',
}
const bursts = [1, 10] as const
/** The database takes part in one of them, so it does less in the same time. */
const warmUpSeconds: Readonly<Record<BroadcastVariant, number>> = {
  lockstep: 1,
  'lockstep-commit': 5,
  ws: 1,
  'ws-buffer': 1,
  'socket.io': 1,
}

interface Turn {
  readonly perSecond: number
  /** Deliveries in one second of processor time of the server. */
  readonly perCoreSecond: number
}

type Found = ReadonlyMap<string, Rounds<BroadcastVariant, Turn>>

export const fanout: Lane = {
  name: 'fanout',
  about: 'deliveries a second and per core, one message or ten in a turn, against a ws loop and Socket.IO',
  minutes: 7,
  async run(context) {
    const { quick } = context
    const variants: readonly BroadcastVariant[] = quick
      ? ['lockstep', 'ws-buffer', 'socket.io']
      : (Object.keys(names) as BroadcastVariant[])
    const sizes = quick ? [1_000] : [100, 1_000, 5_000]
    const postgres = await context.postgres()
    const servers = new Map(
      await Promise.all(
        variants.map(async (variant) => {
          const config: BroadcasterConfig = { variant, databaseUrl: await postgres.createDatabase() }
          return [variant, await Child.start('broadcaster.ts', config)] as const
        }),
      ),
    )
    // One for each: 5,000 sockets of all variants would be more files than a process may open.
    const receivers = new Map(
      await Promise.all(
        variants.map(async (variant) => [variant, await Child.start('receivers.ts', {})] as const),
      ),
    )
    try {
      await warmUp(context, { variants, servers, receivers })
      const found = new Map<string, Rounds<BroadcastVariant, Turn>>()
      for (const sockets of sizes) {
        for (const [key, rounds] of await atSize(context, { variants, servers, receivers, sockets })) {
          found.set(key, rounds)
          context.say(`fan-out, ${key}: ${summary(rounds)}`)
        }
      }
      return {
        figures: figuresOf(found),
        tables: sizes.flatMap((sockets) => bursts.map((burst) => tableOf(found, sockets, burst))),
        plots: bursts.map((burst) => ({
          name: burst === 1 ? 'single' : 'burst',
          title: burst === 1 ? 'Deliveries a second, single messages' : 'Deliveries a second, ten in a turn',
          unit: 'deliveries/s',
          labels: sizes.map((sockets) => `${sockets.toLocaleString('en')} sockets`),
          series: variants.map((variant) => ({
            name: names[variant].replaceAll('`', ''),
            values: sizes.map((sockets) =>
              Math.round(medianOf(turnsOf(found, sockets, burst)[variant], ({ perSecond }) => perSecond)),
            ),
          })),
        })),
        missing:
          process.env['CENTRIFUGO_BIN'] === undefined
            ? ['Centrifugo: no binary was given (`CENTRIFUGO_BIN`).']
            : ['Centrifugo in this lane: messages reach it over HTTP, which would be what is measured.'],
      }
    } finally {
      await endAll([...servers.values(), ...receivers.values()])
    }
  },
}

interface Setting {
  readonly variants: readonly BroadcastVariant[]
  readonly servers: ReadonlyMap<BroadcastVariant, Child>
  readonly receivers: ReadonlyMap<BroadcastVariant, Child>
  readonly sockets: number
}

async function atSize({ quick, rounds, seconds }: LaneContext, setting: Setting): Promise<Found> {
  const { variants, sockets } = setting
  const open = await openSockets(setting)
  const found = new Map<string, Rounds<BroadcastVariant, Turn>>()
  for (const burst of bursts) {
    for (const variant of variants) await turn(open, variant, { burst, seconds: quick ? 0.2 : 0.5 })
    found.set(
      keyOf(sockets, burst),
      await interleave(variants, rounds, (variant) => turn(open, variant, { burst, seconds })),
    )
  }
  await closeSockets(open)
  return found
}

/** To one socket: with many, what a server does once for a message would be done too seldom to be compiled. */
async function warmUp({ quick }: LaneContext, setting: Omit<Setting, 'sockets'>): Promise<void> {
  const open = await openSockets({ ...setting, sockets: 1 })
  for (const variant of setting.variants)
    await turn(open, variant, { burst: 1, seconds: quick ? 0.3 : warmUpSeconds[variant] })
  await closeSockets(open)
}

interface OpenSockets extends Setting {
  readonly groups: ReadonlyMap<BroadcastVariant, number>
}

async function openSockets(setting: Setting): Promise<OpenSockets> {
  const groups = new Map<BroadcastVariant, number>()
  for (const variant of setting.variants) {
    const port = await childOf(setting.servers, variant).ask<number>('port')
    const request: OpenRequest = { wire: wires[variant], port, count: setting.sockets, channel: 'room:1' }
    groups.set(variant, await childOf(setting.receivers, variant).ask<number>('open', request))
  }
  return { ...setting, groups }
}

async function closeSockets({ variants, servers, receivers, groups }: OpenSockets): Promise<void> {
  for (const variant of variants) {
    await childOf(receivers, variant).ask('close', groups.get(variant))
    await childOf(servers, variant).ask('forget')
  }
}

const childOf = (children: ReadonlyMap<BroadcastVariant, Child>, variant: BroadcastVariant): Child =>
  children.get(variant) as Child

async function turn(
  { servers, receivers, groups, sockets }: OpenSockets,
  variant: BroadcastVariant,
  pump: Pump,
): Promise<Turn> {
  const [server, receiver, group] = [
    childOf(servers, variant),
    childOf(receivers, variant),
    groups.get(variant),
  ]
  await receiver.ask('reset', group)
  const { messages, beganUs } = await server.ask<{ messages: number; beganUs: number }>('pump', pump)
  const deliveries = messages * sockets
  const { lastUs } = await receiver.ask<{ lastUs: number }>('received', { group, messages: deliveries })
  const cpuUs = await server.ask<number>('cpuUs')
  return {
    perSecond: (deliveries * 1_000_000) / (lastUs - beganUs),
    perCoreSecond: (deliveries * 1_000_000) / cpuUs,
  }
}

const keyOf = (sockets: number, burst: number): string =>
  `${sockets.toLocaleString('en')} sockets, ${burst === 1 ? 'single messages' : `bursts of ${burst}`}`

function turnsOf(found: Found, sockets: number, burst: number): Rounds<BroadcastVariant, Turn> {
  const rounds = found.get(keyOf(sockets, burst))
  if (rounds === undefined) throw new Error(`${keyOf(sockets, burst)} was not measured`)
  return rounds
}

/** The bare loop is the faster of its two forms. */
function bareOf(rounds: Rounds<BroadcastVariant, Turn>): readonly Turn[] {
  const speed = (turns: readonly Turn[] = []): number => medianOf(turns, ({ perSecond }) => perSecond)
  return speed(rounds.ws) > speed(rounds['ws-buffer']) ? rounds.ws : rounds['ws-buffer']
}

function figuresOf(found: Found): Record<string, number> {
  const [single, burst] = [turnsOf(found, 1_000, 1), turnsOf(found, 1_000, 10)]
  const speed = (a: readonly Turn[], b: readonly Turn[]): number =>
    rounded(ratioOf(a, b, ({ perSecond }) => perSecond).median)
  const perCore = (a: readonly Turn[], b: readonly Turn[]): number =>
    rounded(ratioOf(a, b, ({ perCoreSecond }) => perCoreSecond).median)
  return {
    fanout_vs_ws: speed(single.lockstep, bareOf(single)),
    fanout_vs_ws_per_core: perCore(single.lockstep, bareOf(single)),
    fanout_burst_vs_ws: speed(burst.lockstep, bareOf(burst)),
    fanout_burst_vs_ws_per_core: perCore(burst.lockstep, bareOf(burst)),
    fanout_vs_socketio: speed(single.lockstep, single['socket.io']),
    fanout_burst_vs_socketio: speed(burst.lockstep, burst['socket.io']),
  }
}

function tableOf(found: Found, sockets: number, burst: number): Table {
  const rounds = turnsOf(found, sockets, burst)
  const times = (turns: readonly Turn[], of: (turn: Turn) => number): string => {
    const { median, lowest, highest }: Ratio = ratioOf(rounds.lockstep, turns, of)
    return `${median.toFixed(2)} × (${lowest.toFixed(2)} to ${highest.toFixed(2)})`
  }
  const rows = (Object.entries(rounds) as [BroadcastVariant, readonly Turn[]][]).map(
    ([variant, turns]): Cell[] => [
      names[variant],
      Math.round(medianOf(turns, ({ perSecond }) => perSecond)),
      variant === 'lockstep' ? '' : times(turns, ({ perSecond }) => perSecond),
      Math.round(medianOf(turns, ({ perCoreSecond }) => perCoreSecond)),
      variant === 'lockstep' ? '' : times(turns, ({ perCoreSecond }) => perCoreSecond),
    ],
  )
  const columns = ['variant', 'deliveries/s', 'Lockstep is', 'per second of CPU', 'Lockstep is, per core']
  return { title: keyOf(sockets, burst), columns, rows }
}

const summary = (rounds: Rounds<BroadcastVariant, Turn>): string =>
  (Object.entries(rounds) as [BroadcastVariant, readonly Turn[]][])
    .map(([variant, turns]) => `${variant} ${Math.round(medianOf(turns, ({ perSecond }) => perSecond))}/s`)
    .join(', ')

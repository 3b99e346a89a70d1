import type { BroadcasterConfig, BroadcastVariant } from '../children/broadcaster.ts'
import type { CentrifugoBroadcasterConfig } from '../children/centrifugo-broadcaster.ts'
import type { OpenRequest } from '../children/receivers.ts'
import { roomName, type Pump } from '../harness/broadcast.ts'
import { startCentrifugo, type Centrifugo } from '../harness/centrifugo.ts'
import { Child, endAll } from '../harness/child.ts'
import type { Wire } from '../harness/counting-socket.ts'
import { rounded, type Cell, type Lane, type LaneContext, type Table } from '../harness/lane.ts'
import { centrifugoBinary } from '../harness/machine.ts'
import { pumpTurn, type PumpTurn } from '../harness/pumping.ts'
import { interleave, medianOf, ratioOf, type Ratio, type Rounds } from '../harness/rounds.ts'

type Variant = BroadcastVariant | 'centrifugo'

const names: Readonly<Record<Variant, string>> = {
  lockstep: 'Lockstep',
  'lockstep-commit': 'Lockstep, with a commit for each turn',
  ws: 'bare `ws` loop, text',
  'ws-buffer': 'bare `ws` loop, Buffer',
  'socket.io': 'Socket.IO',
  centrifugo: 'Centrifugo',
}
const wires: Readonly<Record<Variant, Wire>> = {
  lockstep: 'lockstep',
  'lockstep-commit': 'lockstep',
  ws: 'ws',
  'ws-buffer': 'ws',
  'socket.io': 'socket.io',
  centrifugo: 'centrifugo',
}
const bursts = [1, 10] as const
/** The database takes part in one of them, so it does less in the same time. */
const warmUpSeconds: Readonly<Record<Variant, number>> = {
  lockstep: 1,
  'lockstep-commit': 5,
  ws: 1,
  'ws-buffer': 1,
  'socket.io': 1,
  centrifugo: 1,
}

type Found = ReadonlyMap<string, Rounds<Variant, PumpTurn>>

export const fanout: Lane = {
  name: 'fanout',
  about:
    'deliveries a second and per core, one message or ten in a turn, against a ws loop, Socket.IO and Centrifugo',
  minutes: 7,
  async run(context) {
    const { quick } = context
    const variants = variantsOf(quick)
    const sizes = quick ? [1_000] : [100, 1_000, 5_000]
    const centrifugo = variants.includes('centrifugo') ? await startCentrifugo({ mode: 'memory' }) : undefined
    const servers = new Map(
      await Promise.all(
        variants.map(async (variant) => [variant, await startServer(context, variant, centrifugo)] as const),
      ),
    )
    // Start a process for each variant: 5,000 sockets of all variants would be more files than one process may open.
    const receivers = new Map(
      await Promise.all(
        variants.map(async (variant) => [variant, await Child.start('receivers.ts', {})] as const),
      ),
    )
    try {
      await warmUp(context, { variants, servers, receivers })
      const found = new Map<string, Rounds<Variant, PumpTurn>>()
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
        missing: missingOf(variants, found),
      }
    } finally {
      await endAll([...servers.values(), ...receivers.values()])
      await centrifugo?.close()
    }
  },
}

function variantsOf(quick: boolean): readonly Variant[] {
  if (quick) return ['lockstep', 'ws-buffer', 'socket.io']
  const all = Object.keys(names) as Variant[]
  return centrifugoBinary() === undefined ? all.filter((variant) => variant !== 'centrifugo') : all
}

async function startServer(
  { postgres }: LaneContext,
  variant: Variant,
  centrifugo: Centrifugo | undefined,
): Promise<Child> {
  if (variant !== 'centrifugo') {
    const databaseUrl = await (await postgres()).createDatabase()
    return Child.start('broadcaster.ts', { variant, databaseUrl } satisfies BroadcasterConfig)
  }
  if (centrifugo === undefined) throw new Error('Centrifugo was not started')
  const { port, pid, apiKey } = centrifugo
  return Child.start('centrifugo-broadcaster.ts', { port, pid, apiKey } satisfies CentrifugoBroadcasterConfig)
}

function missingOf(variants: readonly Variant[], found: Found): readonly string[] {
  if (centrifugoBinary() === undefined) return ['Centrifugo: no binary was given (`CENTRIFUGO_BIN`).']
  if (!variants.includes('centrifugo')) return ['Centrifugo: a quick run leaves it out.']
  const turns = [...found.values()].flatMap(({ centrifugo }) => centrifugo)
  return turns.some(({ perCoreSecond }) => Number.isNaN(perCoreSecond))
    ? ['processor time of Centrifugo: there is no /proc.']
    : []
}

interface Setting {
  readonly variants: readonly Variant[]
  readonly servers: ReadonlyMap<Variant, Child>
  readonly receivers: ReadonlyMap<Variant, Child>
  readonly sockets: number
}

async function atSize({ quick, rounds, seconds }: LaneContext, setting: Setting): Promise<Found> {
  const { variants, sockets } = setting
  const open = await openSockets(setting)
  const found = new Map<string, Rounds<Variant, PumpTurn>>()
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

/**
 * Warms up with one socket: with many, what a server does once for a message would be done too seldom to be compiled.
 */
async function warmUp({ quick }: LaneContext, setting: Omit<Setting, 'sockets'>): Promise<void> {
  const open = await openSockets({ ...setting, sockets: 1 })
  for (const variant of setting.variants)
    await turn(open, variant, { burst: 1, seconds: quick ? 0.3 : warmUpSeconds[variant] })
  await closeSockets(open)
}

interface OpenSockets extends Setting {
  readonly groups: ReadonlyMap<Variant, number>
}

async function openSockets(setting: Setting): Promise<OpenSockets> {
  const groups = new Map<Variant, number>()
  for (const variant of setting.variants) {
    const port = await childOf(setting.servers, variant).ask<number>('port')
    const request: OpenRequest = { wire: wires[variant], port, count: setting.sockets, channel: roomName }
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

const childOf = (children: ReadonlyMap<Variant, Child>, variant: Variant): Child =>
  children.get(variant) as Child

const turn = (
  { servers, receivers, groups, sockets }: OpenSockets,
  variant: Variant,
  pump: Pump,
): Promise<PumpTurn> =>
  pumpTurn(
    {
      server: childOf(servers, variant),
      receiver: childOf(receivers, variant),
      group: groups.get(variant) as number,
      sockets,
    },
    pump,
  )

const keyOf = (sockets: number, burst: number): string =>
  `${sockets.toLocaleString('en')} sockets, ${burst === 1 ? 'single messages' : `bursts of ${burst}`}`

function turnsOf(found: Found, sockets: number, burst: number): Rounds<Variant, PumpTurn> {
  const rounds = found.get(keyOf(sockets, burst))
  if (rounds === undefined) throw new Error(`${keyOf(sockets, burst)} was not measured`)
  return rounds
}

/** The bare loop is the faster of its two forms. */
function bareOf(rounds: Rounds<Variant, PumpTurn>): readonly PumpTurn[] {
  const speed = (turns: readonly PumpTurn[] = []): number => medianOf(turns, ({ perSecond }) => perSecond)
  return speed(rounds.ws) > speed(rounds['ws-buffer']) ? rounds.ws : rounds['ws-buffer']
}

function figuresOf(found: Found): Record<string, number> {
  const [single, burst] = [turnsOf(found, 1_000, 1), turnsOf(found, 1_000, 10)]
  const speed = (a: readonly PumpTurn[], b: readonly PumpTurn[]): number =>
    rounded(ratioOf(a, b, ({ perSecond }) => perSecond).median)
  const perCore = (a: readonly PumpTurn[], b: readonly PumpTurn[]): number =>
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
  const times = (turns: readonly PumpTurn[], of: (turn: PumpTurn) => number): string => {
    const { median, lowest, highest }: Ratio = ratioOf(rounds.lockstep, turns, of)
    return `${median.toFixed(2)} × (${lowest.toFixed(2)} to ${highest.toFixed(2)})`
  }
  const cells = (variant: Variant, turns: readonly PumpTurn[], of: (turn: PumpTurn) => number): Cell[] => {
    const value = Math.round(medianOf(turns, of))
    if (Number.isNaN(value)) return ['not measured', '']
    return [value, variant === 'lockstep' ? '' : times(turns, of)]
  }
  const rows = (Object.entries(rounds) as [Variant, readonly PumpTurn[]][]).map(
    ([variant, turns]): Cell[] => [
      names[variant],
      ...cells(variant, turns, ({ perSecond }) => perSecond),
      ...cells(variant, turns, ({ perCoreSecond }) => perCoreSecond),
    ],
  )
  const columns = ['variant', 'deliveries/s', 'Lockstep is', 'per second of CPU', 'Lockstep is, per core']
  return { title: keyOf(sockets, burst), columns, rows }
}

const summary = (rounds: Rounds<Variant, PumpTurn>): string =>
  (Object.entries(rounds) as [Variant, readonly PumpTurn[]][])
    .map(([variant, turns]) => `${variant} ${Math.round(medianOf(turns, ({ perSecond }) => perSecond))}/s`)
    .join(', ')

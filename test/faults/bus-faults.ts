// Faults of the bus in a run: its broker dies and comes back empty, its connections go dead without a word.
import type { Cluster } from './cluster.ts'
import { brokerKillName, busFaultName } from './check-weight.ts'
import type { History } from './history.ts'
import type { Random } from './random.ts'
import { wait } from './wait.ts'

export interface BusFaultOptions {
  readonly cluster: Cluster
  readonly history: History
  readonly signal: AbortSignal
}

/** Pause between two looks for a connection that could be broken. */
const lookAgainMs = 100

/** Kills the broker by SIGKILL, and starts a new one on the same port, which knows nothing of before. */
export async function killBroker(
  { cluster, history, signal }: BusFaultOptions,
  random: Random,
): Promise<void> {
  const { broker } = cluster.busLeg
  if (broker === undefined) return
  history.add({ kind: 'fault', fault: brokerKillName })
  await broker.kill()
  await wait(random.between(200, 3_000), signal)
  await broker.start()
}

/** Breaks a connection of the bus, or all of them, for less or for longer than a bus needs to notice. */
export async function breakBusLink(
  { cluster, history, signal }: BusFaultOptions,
  how: 'black-hole' | 'stall-up' | 'stall-down',
  random: Random,
): Promise<void> {
  let links = cluster.busLeg.links()
  while (links.length === 0 && !signal.aborted) {
    await wait(lookAgainMs, signal)
    links = cluster.busLeg.links()
  }
  if (links.length === 0) return
  const broken = random.chance(0.3) ? links : [random.pick(links)]
  history.add({ kind: 'fault', fault: busFaultName(how), detail: `${broken.length} connections` })
  for (const link of broken) {
    if (how === 'black-hole') link.blackHole()
    else link.stall(how === 'stall-up' ? 'up' : 'down')
  }
  await wait(random.between(500, 5_000), signal)
  for (const link of broken) link.heal()
}

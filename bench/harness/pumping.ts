// A turn of a server that sends to many sockets.
import type { Pump, Pumped } from './broadcast.ts'
import type { Child } from './child.ts'

/** A server of the fan-out, and the group of sockets that hears it. */
export interface Pumping {
  readonly server: Child
  /** A process of bench/children/receivers.ts. */
  readonly receiver: Child
  readonly group: number
  readonly sockets: number
}

export interface PumpTurn {
  readonly perSecond: number
  /** Deliveries in one second of processor time of the server; NaN where that is not known. */
  readonly perCoreSecond: number
}

export async function pumpTurn({ server, receiver, group, sockets }: Pumping, pump: Pump): Promise<PumpTurn> {
  await receiver.ask('reset', group)
  const { messages, beganUs } = await server.ask<Pumped>('pump', pump)
  const deliveries = messages * sockets
  const { lastUs } = await receiver.ask<{ lastUs: number }>('received', { group, messages: deliveries })
  const cpuUs = await server.ask<number | undefined>('cpuUs')
  return {
    perSecond: (deliveries * 1_000_000) / (lastUs - beganUs),
    perCoreSecond: cpuUs === undefined ? Number.NaN : (deliveries * 1_000_000) / cpuUs,
  }
}

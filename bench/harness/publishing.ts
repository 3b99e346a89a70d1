// A turn of a server that commits and notifies its subscribers: from COMMIT to the callback of a client.
import { setTimeout as pause } from 'node:timers/promises'
import type { Published, PublishLoad } from '../children/publisher.ts'
import type { Received } from '../children/subscribers.ts'
import type { Child } from './child.ts'
import { Latencies, type Percentiles } from './histogram.ts'

/** A process of bench/children/publisher.ts, and the group of clients that hears it. */
export interface Publishing {
  readonly name: string
  readonly writer: Child
  /** A process of bench/children/subscribers.ts. */
  readonly clients: Child
  readonly group: number
  /** Number of receivers of each message. */
  readonly receivers: number
}

/** Times of one turn, in milliseconds. */
export interface PublishTurn {
  /** Latency from the acknowledged COMMIT. */
  readonly committed: Percentiles
  /** Latency from the moment the transaction should have been sent. */
  readonly intended: Percentiles
}

const patienceMs = 30_000

export async function publishTurn(publishing: Publishing, load: PublishLoad): Promise<PublishTurn> {
  const published = await publishing.writer.ask<Published[]>('publish', load)
  const sent = new Map(published.map(([n, intendedUs, committedUs]) => [n, { intendedUs, committedUs }]))
  const [committed, intended] = [new Latencies(), new Latencies()]
  for (const [n, receivedUs] of await received(publishing, published.length)) {
    const message = sent.get(n)
    if (message === undefined) throw new Error(`${publishing.name}: message ${n} came twice`)
    committed.record(receivedUs - message.committedUs)
    intended.record(receivedUs - message.intendedUs)
  }
  return { committed: committed.percentiles, intended: intended.percentiles }
}

/** Resolves to the messages received, once so many have reached all receivers. */
export async function received(
  { name, clients, group, receivers }: Publishing,
  messages: number,
): Promise<Received[]> {
  const wanted = messages * receivers
  for (let waitedMs = 0; waitedMs < patienceMs; waitedMs += 20) {
    if ((await clients.ask<number>('count', group)) >= wanted) break
    await pause(20)
  }
  const all = await clients.ask<Received[]>('take', group)
  if (all.length !== wanted) throw new Error(`${name}: ${all.length} of ${wanted} messages arrived in time`)
  return all
}

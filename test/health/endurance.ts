import { setTimeout as pause } from 'node:timers/promises'
import type { Checks } from './checks.ts'
import { ChildNode } from './child-node.ts'
import { listenToAll } from './listeners.ts'

const rooms = 100
const perSecond = 200
const lookEveryMs = 15_000
const mostDrift = 0.1

/** A steady load on two nodes, and their heaps after a collection: the last third as the middle one. */
export async function checkEndurance(checks: Checks, databaseUrl: string, minutes: number): Promise<void> {
  console.log(`${minutes} minutes at ${perSecond} operations/s on each of two nodes`)
  const nodes = [await ChildNode.start(databaseUrl), await ChildNode.start(databaseUrl)]
  const listeners = await Promise.all(nodes.map(({ http }, n) => listenToAll(http, rooms, n * 10)))
  const operations = Math.round(minutes * 60 * perSecond)
  const load = { operations, perSecond, rooms, users: 40, failEvery: 50, mostSeconds: minutes * 60 + 5 }
  const run = { isOver: false }
  const loads = Promise.all(nodes.map((node) => node.load(load))).finally(() => (run.isOver = true))
  const heaps: number[][] = nodes.map(() => [])
  let looks = 0
  while (!run.isOver) {
    await Promise.race([pause(lookEveryMs), loads])
    if (run.isOver) break
    looks += 1
    for (const [n, node] of nodes.entries()) heaps[n]?.push((await node.heap()) / 2 ** 20)
    if ((looks * lookEveryMs) % 60_000 !== 0) continue
    const shown = heaps.map((heap) => `${median(heap.slice(-60_000 / lookEveryMs)).toFixed(1)} MiB`)
    checks.say(`minute ${(looks * lookEveryMs) / 60_000}: ${shown.join(', ')}`)
  }
  for (const { committed, rolledBack, seconds, errors } of await loads) {
    checks.say(
      `${committed} committed, ${rolledBack} rolled back in ${Math.round(seconds)} s ${errors.join('; ')}`,
    )
  }
  for (const [n, heap] of heaps.entries()) {
    const third = Math.floor(heap.length / 3)
    const [middle, last] = [median(heap.slice(third, 2 * third)), median(heap.slice(2 * third))]
    checks.check(
      `node ${n + 1}: the heap is flat`,
      third > 0 && Math.abs(last - middle) <= middle * mostDrift,
      `median ${middle.toFixed(1)} MiB in the middle third, ${last.toFixed(1)} MiB in the last`,
    )
  }
  for (const listener of listeners) listener.close()
  await Promise.all(nodes.map((node) => node.stop()))
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? 0
}

import { performance } from 'node:perf_hooks'
import { setTimeout as pause } from 'node:timers/promises'
import type { Application } from './application.ts'

/** Operations that are started by the clock, whatever became of those before. */
export interface Load {
  readonly operations: number
  /** Operations a second at most; fewer while the machine does not keep up. */
  readonly perSecond: number
  readonly rooms: number
  readonly users: number
  /** Time after which no more operations are started, even if there were to be more. */
  readonly mostSeconds?: number
  /** Makes one operation fail among so many. */
  readonly failEvery: number
}

export interface LoadResult {
  readonly committed: number
  readonly rolledBack: number
  /** Rolled-back operations by user. */
  readonly rolledBackOf: Readonly<Record<string, number>>
  /** Errors of calls that did not answer with an outcome. */
  readonly errors: readonly string[]
  readonly seconds: number
  readonly p50Ms: number
  readonly p99Ms: number
  /** Lowest pace it was slowed down to. */
  readonly slowestPerSecond: number
}

const tickMs = 5
const lookEveryMs = 500
/** Slower than that, and the machine has no room left: gaps would measure the load. */
const calmMs = 40
const mostOpen = 200
/** A run has to end. */
const leastShare = 0.5

/** Runs `note` at an even pace, slower while answers take long. */
export async function runLoad({ note }: Application, load: Load): Promise<LoadResult> {
  const latencies: number[] = []
  const errors: string[] = []
  const open = new Set<Promise<void>>()
  const counts = { committed: 0, rolled_back: 0 }
  const rolledBackOf: Record<string, number> = {}
  const began = performance.now()
  let [started, due, perSecond, slowest] = [0, 0, load.perSecond, load.perSecond]
  let [lastTick, lastLook, looked] = [began, began, 0]

  const start = (): void => {
    const n = started++
    const startedAt = performance.now()
    const user = `u${n % load.users}`
    const input = { room: `r${Math.floor(Math.random() * load.rooms)}`, n, fail: n % load.failEvery === 7 }
    const run = async (): Promise<void> => {
      try {
        const { outcome } = await note.call(input, { user })
        counts[outcome] += 1
        if (outcome === 'rolled_back') rolledBackOf[user] = (rolledBackOf[user] ?? 0) + 1
        latencies.push(performance.now() - startedAt)
      } catch (error) {
        errors.push(String(error))
      }
    }
    const call = run().finally(() => open.delete(call))
    open.add(call)
  }

  const endsAt = began + (load.mostSeconds ?? Infinity) * 1_000
  while (started < load.operations && lastTick < endsAt) {
    await pause(tickMs)
    const now = performance.now()
    due = Math.min(due + ((now - lastTick) * perSecond) / 1_000, perSecond / 10)
    lastTick = now
    for (; due >= 1 && open.size < mostOpen && started < load.operations; due -= 1) start()
    if (now - lastLook < lookEveryMs) continue
    const p90 = percentile(latencies.slice(looked), 0.9)
    perSecond =
      p90 > calmMs
        ? Math.max(load.perSecond * leastShare, perSecond * 0.85)
        : Math.min(load.perSecond, perSecond * 1.05)
    slowest = Math.min(slowest, perSecond)
    lastLook = now
    looked = latencies.length
  }
  await Promise.all(open)
  return {
    committed: counts.committed,
    rolledBack: counts.rolled_back,
    rolledBackOf,
    errors: [...new Set(errors)].slice(0, 5),
    seconds: (performance.now() - began) / 1_000,
    p50Ms: percentile(latencies, 0.5),
    p99Ms: percentile(latencies, 0.99),
    slowestPerSecond: slowest,
  }
}

function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0
}

import { setTimeout as pause } from 'node:timers/promises'
import { cpuUs, nowUs } from './child-host.ts'
import { Latencies, type Percentiles } from './histogram.ts'

/** Before a closed load is measured: connections are opened and code is compiled in it. */
export const rampSeconds = 0.2

export interface ClosedLoad {
  readonly workers: number
  readonly seconds: number
}

export interface ClosedResult {
  readonly perSecond: number
  readonly latency: Percentiles
  /** Processor time of the process, in microseconds. */
  readonly cpuUsPerOperation: number
}

/** As many workers, each with one operation at a time: what throughput the system reaches. */
export async function closedLoop(
  { workers, seconds }: ClosedLoad,
  operation: (n: number) => Promise<unknown>,
): Promise<ClosedResult> {
  const latencies = new Latencies()
  const from = nowUs() + rampSeconds * 1_000_000
  const until = from + seconds * 1_000_000
  let [n, done, cpuFrom] = [0, 0, 0]
  const worker = async (): Promise<void> => {
    for (;;) {
      const began = nowUs()
      if (began >= until) return
      await operation(n++)
      const ended = nowUs()
      if (ended < from) continue
      if (cpuFrom === 0) cpuFrom = cpuUs()
      if (ended > until) return
      done += 1
      latencies.record(ended - began)
    }
  }
  await Promise.all(Array.from({ length: workers }, worker))
  return {
    perSecond: done / seconds,
    latency: latencies.percentiles,
    cpuUsPerOperation: (cpuUs() - cpuFrom) / Math.max(1, done),
  }
}

export interface OpenLoad {
  readonly perSecond: number
  readonly seconds: number
}

/**
 * Starts operations at the moments a schedule says, whatever has become of those before: a system that stalls is
 * charged for all that should have been sent meanwhile. The operation is given the moment it was meant for.
 */
export async function openLoop(
  { perSecond, seconds }: OpenLoad,
  operation: (n: number, intendedUs: number) => Promise<unknown>,
): Promise<void> {
  const from = nowUs()
  const total = Math.round(perSecond * seconds)
  const open: Promise<unknown>[] = []
  for (let n = 0; n < total; n += 1) {
    const intendedUs = from + (n * 1_000_000) / perSecond
    const waitMs = (intendedUs - nowUs()) / 1_000
    if (waitMs > 0.5) await pause(waitMs)
    open.push(operation(n, intendedUs))
  }
  await Promise.all(open)
}

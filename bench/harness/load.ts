import { setTimeout as pause } from 'node:timers/promises'
import { cpuUs, nowUs } from './child-host.ts'
import { Latencies, type Percentiles } from './histogram.ts'

/**
 * Time before a closed load is measured: every worker has begun by then. Code is compiled and connections are opened
 * before.
 */
const rampSeconds = 0.1
/**
 * How many operations a server does before anything of it is measured. Until then it is largely V8's compiler that is
 * measured: the first hundred operations of Lockstep cost about five times as much as those after the five-thousandth.
 */
export const warmUpOperations = 6_000

export interface ClosedLoad {
  readonly workers: number
  readonly seconds: number
}

export interface ClosedResult {
  readonly perSecond: number
  readonly latency: Percentiles
  /** Processor time of the process, in microseconds. */
  readonly cpuUsPerOperation: number
  /** Operations of the whole turn, including those before and after the time that is measured. */
  readonly operations: number
}

/** Runs workers with one operation each at a time, and measures the throughput that the system reaches. */
export async function closedLoop(
  { workers, seconds }: ClosedLoad,
  operation: (n: number) => Promise<unknown>,
): Promise<ClosedResult> {
  const latencies = new Latencies()
  const from = nowUs() + rampSeconds * 1_000_000
  const until = from + seconds * 1_000_000
  // Processor time counts from the end of one operation, so `costed` are all that have ended after it.
  let [n, done, costed, cpuFrom] = [0, 0, 0, Number.NaN]
  const worker = async (): Promise<void> => {
    for (;;) {
      const began = nowUs()
      if (began >= until) return
      await operation(n++)
      const ended = nowUs()
      if (ended < from) continue
      if (Number.isNaN(cpuFrom)) cpuFrom = cpuUs()
      else costed += 1
      if (ended > until) return
      done += 1
      latencies.record(ended - began)
    }
  }
  await Promise.all(Array.from({ length: workers }, worker))
  return {
    perSecond: done / seconds,
    latency: latencies.percentiles,
    cpuUsPerOperation: (cpuUs() - cpuFrom) / Math.max(1, costed),
    operations: n,
  }
}

export interface CountedLoad {
  readonly workers: number
  readonly operations: number
  /** Default: as long as they take. */
  readonly atMostSeconds?: number | undefined
}

/** Runs a number of operations as fast as they go; resolves to how many there was time for. */
export async function countedLoop(
  { workers, operations, atMostSeconds = Infinity }: CountedLoad,
  operation: (n: number) => Promise<unknown>,
): Promise<number> {
  const until = nowUs() + atMostSeconds * 1_000_000
  let n = 0
  const worker = async (): Promise<void> => {
    while (n < operations && nowUs() < until) await operation(n++)
  }
  await Promise.all(Array.from({ length: workers }, worker))
  return n
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

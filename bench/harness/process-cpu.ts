// Processor time of another process, as the system counts it, for processes that do not report their own.
import { readdir, readFile } from 'node:fs/promises'

const ticksPerSecond = 100

/**
 * Processor time of a process so far, of all threads that it has, in microseconds; undefined when it has ended, and where
 * /proc is not there.
 */
export async function processCpuUs(pid: number | string): Promise<number | undefined> {
  return (await scheduledUs(pid)) ?? (await tickedUs(pid))
}

/** Thread by thread, since the file of a process is that of its first thread. One that ends meanwhile is left out. */
async function scheduledUs(pid: number | string): Promise<number | undefined> {
  const threads = await readdir(`/proc/${pid}/task`).catch(() => [])
  const texts = await Promise.all(
    threads.map((thread) => readFile(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').catch(() => undefined)),
  )
  const counted = texts.filter((text) => text !== undefined)
  if (counted.length === 0) return undefined
  return counted.reduce((us, text) => us + Number(text.split(' ')[0]) / 1_000, 0)
}

/** Reads ticks where the kernel counts nothing finer: ten milliseconds are coarse beside a short turn. */
async function tickedUs(pid: number | string): Promise<number | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined)
  if (stat === undefined) return undefined
  // The title before may hold anything; fields 14 and 15 are user and system.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return ((Number(fields[11]) + Number(fields[12])) * 1_000_000) / ticksPerSecond
}

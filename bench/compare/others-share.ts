// How much of the machine other processes take, so that a reader knows what a comparison was made beside.
import { readdir, readFile } from 'node:fs/promises'

/** Processor time in ticks of the kernel's clock, as /proc counts. */
interface Reading {
  readonly all: number
  readonly idle: number
  readonly own: number
}

/** Resolves to the share of the cores, from 0 to 1, that others took during the work; NaN where /proc is not there. */
export async function withOthersShare<Result>(
  work: () => Promise<Result>,
): Promise<readonly [result: Result, othersShare: number]> {
  const before = await read()
  const result = await work()
  const after = await read()
  const busy = after.all - before.all - (after.idle - before.idle)
  const share = (busy - (after.own - before.own)) / (after.all - before.all)
  return [result, Number.isNaN(share) ? share : Math.max(0, share)]
}

async function read(): Promise<Reading> {
  const stat = await readFile('/proc/stat', 'utf8').catch(() => '')
  // user, nice, system, idle, iowait, irq, softirq, steal; those of guests are within user and nice.
  const counted = (/^cpu +(.*)$/m.exec(stat)?.[1] ?? '').split(' ').slice(0, 8).map(Number)
  const [, , , idle = Number.NaN, waiting = Number.NaN] = counted
  return { all: counted.reduce((sum, ticks) => sum + ticks, 0), idle: idle + waiting, own: await ownTicks() }
}

/** Counts the ticks of this process and all that descend from it. */
async function ownTicks(): Promise<number> {
  const processes = new Map<number, { readonly parent: number; readonly ticks: number }>()
  for (const entry of await readdir('/proc').catch(() => [])) {
    if (!/^\d+$/.test(entry)) continue
    const stat = await readFile(`/proc/${entry}/stat`, 'utf8').catch(() => '')
    // The title before may hold anything.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    processes.set(Number(entry), {
      parent: Number(fields[1]),
      ticks: Number(fields[11]) + Number(fields[12]),
    })
  }
  const isOwn = (pid: number): boolean => {
    if (pid === process.pid) return true
    const parent = processes.get(pid)?.parent
    return parent !== undefined && isOwn(parent)
  }
  return [...processes].reduce((sum, [pid, { ticks }]) => (isOwn(pid) ? sum + ticks : sum), 0)
}

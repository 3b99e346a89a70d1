// Share of the machine that each process takes, from /proc: the lane has to know that it measures Lockstep.
import { readdirSync, readFileSync } from 'node:fs'
import { availableParallelism, cpus } from 'node:os'
import { monitorEventLoopDelay, type IntervalHistogram } from 'node:perf_hooks'

/** Postgres and Linux count in hundredths of a second. */
const tickMs = 10
const loopResolutionMs = 10

interface Moment {
  readonly at: number
  /** Milliseconds of processor time, by the name of the group. */
  readonly groups: ReadonlyMap<string, number>
  /** Milliseconds of all processors, this machine's other work included. */
  readonly busyMs: number
}

/** Shares of all processors between two moments, 0 to 1. */
export interface Shares {
  readonly groups: ReadonlyMap<string, number>
  /** Share of processes outside the groups: other work on the machine. */
  readonly others: number
  readonly idle: number
}

/**
 * Processor time of groups of processes, each named and given by the ids of its roots. Their children count, too, except
 * those that are roots themselves.
 */
export class Usage {
  readonly #roots: ReadonlyMap<string, readonly number[]>
  #since: Moment

  constructor(roots: ReadonlyMap<string, readonly number[]>) {
    this.#roots = roots
    this.#since = this.#now()
  }

  /** Shares since the last question, or since the beginning. */
  lap(): Shares {
    const [from, to] = [this.#since, this.#now()]
    this.#since = to
    const capacityMs = (to.at - from.at) * availableParallelism()
    const groups = new Map(
      [...to.groups].map(([name, ms]) => [name, (ms - (from.groups.get(name) ?? 0)) / capacityMs]),
    )
    const busy = (to.busyMs - from.busyMs) / capacityMs
    const known = [...groups.values()].reduce((sum, share) => sum + share, 0)
    return { groups, others: Math.max(0, busy - known), idle: Math.max(0, 1 - busy) }
  }

  #now(): Moment {
    const processes = readProcesses()
    const allRoots = new Set([...this.#roots.values()].flat())
    const treeMs = (id: number): number => {
      let ms = processes.get(id)?.ms ?? 0
      for (const [child, { parent }] of processes)
        if (parent === id && !allRoots.has(child)) ms += treeMs(child)
      return ms
    }
    const groups = new Map(
      [...this.#roots].map(([name, roots]) => [name, roots.reduce((ms, id) => ms + treeMs(id), 0)]),
    )
    const busyMs = cpus().reduce((ms, { times }) => ms + times.user + times.nice + times.sys + times.irq, 0)
    return { at: performance.now(), groups, busyMs }
  }
}

interface Process {
  readonly parent: number
  /** Processor time of the process, and of its children which have ended. */
  readonly ms: number
}

function readProcesses(): ReadonlyMap<number, Process> {
  const found = new Map<number, Process>()
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    try {
      // The name of the command may hold spaces and parentheses: what follows it does not.
      const fields = readFileSync(`/proc/${name}/stat`, 'utf8')
        .replace(/^.*\) /s, '')
        .split(' ')
        .map(Number)
      const [parent = 0] = fields.slice(1)
      const ticks = fields.slice(11, 15).reduce((sum, each) => sum + each, 0)
      found.set(Number(name), { parent, ms: ticks * tickMs })
    } catch {
      // The process has ended meanwhile, and counts with its parent.
    }
  }
  return found
}

/** Measures how late this process' event loop runs. */
export class LoopLag {
  readonly #delays: IntervalHistogram = monitorEventLoopDelay({ resolution: loopResolutionMs })

  constructor() {
    this.#delays.enable()
  }

  /** Lateness, 99th percentile since the last question, in milliseconds. */
  lap(): number {
    const p99 = this.#delays.percentile(99) / 1e6
    this.#delays.reset()
    return Math.max(0, p99 - loopResolutionMs)
  }
}

export function shownShares({ groups, others, idle }: Shares): string {
  const percent = (share: number): string => `${Math.round(100 * share)} %`
  const named = [...groups].map(([name, share]) => `${name} ${percent(share)}`)
  return [...named, `others ${percent(others)}`, `idle ${percent(idle)}`].join(', ')
}

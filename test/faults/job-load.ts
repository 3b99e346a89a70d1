// Users who start jobs of five steps at a steady rate, and stop some of them.
import { setTimeout as pause } from 'node:timers/promises'
import { signToken } from '../../src/index.ts'
import { secret, type Cluster } from './cluster.ts'
import type { History } from './history.ts'
import type { JobPlan } from './jobs.ts'
import { Runner } from './runner.ts'
import type { Random } from './random.ts'

export interface JobLoadOptions {
  readonly cluster: Cluster
  readonly history: History
  readonly random: Random
  /** Jobs that are to be started. */
  readonly runs: number
  readonly loadMs: number
}

const runners = 4
const stepsOfJob = 5
const channels = 8
const mostOpen = 24

/** Starts as many jobs as asked for, in the time of the load or, where that does not do, in half as much time again. */
export async function loadJobs({ cluster, history, random, runs, loadMs }: JobLoadOptions): Promise<void> {
  if (runs === 0) return
  const all = await Promise.all(
    Array.from({ length: runners }, async (_, index) => {
      const user = `runner${index}`
      return new Runner({ user, url: cluster.url, token: await signToken(secret, user, 3_600), history })
    }),
  )
  const began = performance.now()
  const everyMs = loadMs / (runs * 1.2)
  let [asked, started] = [0, 0]
  const calls: Promise<void>[] = []
  for (;;) {
    const now = performance.now() - began
    if (started >= runs || now > loadMs * 1.5) break
    const free = all.filter(({ openCount }) => openCount < mostOpen)
    if (free.length === 0 || asked * everyMs > now) {
      await pause(2)
      continue
    }
    asked += 1
    const runner = random.pick(free)
    const [plan, stopsAfterMs] = [planJob(random), random.chance(0.15) ? random.between(0, 200) : undefined]
    calls.push(playJob(runner, plan, { stopsAfterMs, onStarted: () => void (started += 1) }))
  }
  await Promise.all(calls)
  for (const runner of all) runner.close()
}

async function playJob(
  runner: Runner,
  plan: JobPlan,
  { stopsAfterMs, onStarted }: { readonly stopsAfterMs: number | undefined; readonly onStarted: () => void },
): Promise<void> {
  const run = await runner.start(plan)
  if (run === undefined) return
  onStarted()
  if (stopsAfterMs === undefined) return
  await pause(stopsAfterMs)
  await runner.stop(run)
}

function planJob(random: Random): JobPlan {
  return {
    place: random.between(1, channels),
    workMs: Array.from({ length: stepsOfJob }, () => random.between(2, 60)),
    ...(random.chance(0.1) ? { throwsAt: random.between(0, stepsOfJob - 1) } : {}),
  }
}

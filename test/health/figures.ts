import { setTimeout as pause } from 'node:timers/promises'
import type { DashboardData } from '../../src/monitor/index.ts'

/** Asks a node for the dashboard's figures, which are those of its whole cluster. */
async function readFigures(http: string): Promise<DashboardData> {
  const response = await fetch(`${http}/lockstep/dashboard/data?minutes=60`)
  if (!response.ok) throw new Error(`the dashboard's data answered ${response.status}`)
  return (await response.json()) as DashboardData
}

/** The last figures, also when they did not come to hold in time. */
export async function figuresOnce(
  http: string,
  holds: (figures: DashboardData) => boolean,
  patienceMs = 30_000,
): Promise<DashboardData> {
  const deadline = performance.now() + patienceMs
  for (;;) {
    const figures = await readFigures(http)
    if (holds(figures) || performance.now() > deadline) return figures
    await pause(250)
  }
}

/** Kinds with a count that is not 0, for a line of text. */
export function shownCounts(counts: Readonly<Record<string, number>>): string {
  const some = Object.entries(counts).filter(([, count]) => count !== 0)
  return some.length === 0 ? 'none' : some.map(([kind, count]) => `${kind} ${count}`).join(', ')
}

export function sumOf(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0)
}

import { setTimeout as pause } from 'node:timers/promises'
import type { MonitorFigures } from './figures.ts'
import type { Stage } from './stage.ts'

const patienceMs = 15_000

/**
 * Reads the monitor's figures of the pass. The monitor works on its own beat, so it is asked until it has found the
 * violations that the witness has found, and then an untold rollback that is planted last: whatever it has not reported
 * by then, it does not know.
 */
export async function readMonitor(stage: Stage, witnessed: readonly string[]): Promise<MonitorFigures> {
  const hasAll = (wanted: readonly string[]) => async (): Promise<boolean> => {
    const found = new Set(await storedViolations(stage))
    return wanted.every((key) => found.has(key))
  }
  await eventually(hasAll(witnessed))
  await eventually(async () => (await stage.lockstep.health.score()).operations >= stage.asked.length)
  const { overall, operations } = await stage.lockstep.health.score()
  const { websocket_db_gap: gap } = (await stage.lockstep.health.report()).gaps

  const planted = `${await stage.plantUntold()} missing_rollback_notification`
  const isAwake = await eventually(hasAll([planted]))
  const found = (await storedViolations(stage)).filter((key) => key !== planted)
  const violations: Record<string, number> = {}
  for (const key of found) {
    const kind = key.split(' ')[1] ?? ''
    violations[kind] = (violations[kind] ?? 0) + 1
  }
  return {
    operations,
    score: overall,
    violations,
    averageGapMs: gap.average,
    p99GapMs: gap.p99,
    missed: witnessed.filter((key) => !found.includes(key)),
    isAwake,
  }
}

async function storedViolations(stage: Stage): Promise<readonly string[]> {
  const found = await stage.rows<{ key: string }>(
    `select operation_id || ' ' || kind as key from lockstep.health_violations`,
  )
  return found.map(({ key }) => key)
}

async function eventually(holds: () => Promise<boolean>): Promise<boolean> {
  const deadline = performance.now() + patienceMs
  while (!(await holds())) {
    if (performance.now() > deadline) return false
    await pause(50)
  }
  return true
}

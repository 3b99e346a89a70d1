// The failover lane: the database gets another history while nodes and clients live on. Real servers: a standby that lags is
// promoted, a base backup is restored. See docs/reference/fault-lanes.md.
//   node --import tsx test/failover/run.ts
//   node --import tsx test/failover/run.ts --planted
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect, parseArgs } from 'node:util'
import { createNodeBundles, type NodeBundles } from '../faults/build-node.ts'
import { groupBy } from '../faults/check-log.ts'
import type { Violation } from '../faults/checker.ts'
import { FailoverArena } from './arena.ts'
import { plantedBugs } from './planted.ts'
import { schedules, type Schedule } from './schedules.ts'

const { values } = parseArgs({
  options: {
    planted: { type: 'boolean', default: false },
    /** Text that the names of schedules, or of planted bugs, must hold. */
    only: { type: 'string', default: '' },
    keep: { type: 'boolean', default: false },
  },
})

/** Number of witnesses printed for violations that are alike. */
const witnesses = 2

async function play(
  bundle: string,
  { play: run }: Schedule,
  logFile?: string,
): Promise<readonly Violation[]> {
  const arena = await FailoverArena.open({ bundle, ...(logFile === undefined ? {} : { logFile }) })
  try {
    await run(arena)
    return await arena.verdict()
  } finally {
    await arena.close()
  }
}

async function allSchedules(bundles: NodeBundles): Promise<number> {
  const bundle = await bundles.build('sources')
  const folder = await mkdtemp(join(tmpdir(), 'lockstep-failover-'))
  const logFile = join(folder, 'nodes.log')
  const chosen = schedules.filter(({ name }) => name.includes(values.only))
  let failed = 0
  for (const schedule of chosen) {
    const began = performance.now()
    let violations: readonly Violation[] = []
    let broke: unknown
    try {
      violations = await play(bundle, schedule, logFile)
    } catch (error) {
      broke = error
    }
    const isGood = broke === undefined && violations.length === 0
    if (!isGood) failed += 1
    console.log(
      `${isGood ? 'holds ' : 'BROKEN'}  ${schedule.name}  ${Math.round(performance.now() - began)} ms`,
    )
    if (broke !== undefined) console.log(inspect(broke))
    printViolations(violations)
  }
  if (failed === 0 && !values.keep) await rm(folder, { recursive: true, force: true })
  else console.log(`logs: ${folder}`)
  console.log(`${chosen.length - failed} passed, ${failed} failed`)
  return failed
}

async function allPlanted(bundles: NodeBundles): Promise<number> {
  const chosen = plantedBugs.filter(({ bug }) => bug.includes(values.only))
  let failed = 0
  for (const { bug, schedule, points } of chosen) {
    const bundle = await bundles.build(bug.replaceAll(/\W+/g, '-'), points)
    const violations = await play(bundle, schedule)
    const witness = violations.find(({ rule }) => rule === 'I17')
    if (witness === undefined) failed += 1
    console.log(
      `${witness === undefined ? 'MISSED' : 'caught'}  ${bug.padEnd(48)}  I17  ${witness?.what ?? ''}`,
    )
    if (witness === undefined) printViolations(violations)
  }
  console.log(`${chosen.length - failed} passed, ${failed} failed`)
  return failed
}

function printViolations(violations: readonly Violation[]): void {
  for (const [what, alike] of groupBy(
    violations,
    (one) => `${one.rule} ${one.what.replaceAll(/\d+/g, '#')}`,
  )) {
    console.log(`         ${alike.length} times: ${what}`)
    for (const { witness } of alike.slice(0, witnesses)) {
      for (const line of witness) console.log(`           ${JSON.stringify(line)}`)
    }
  }
}

const bundles = await createNodeBundles()
let failed = 1
try {
  failed = await (values.planted ? allPlanted(bundles) : allSchedules(bundles))
} finally {
  await bundles.close()
}
process.exit(failed === 0 ? 0 : 1)

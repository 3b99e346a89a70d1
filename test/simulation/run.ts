// The simulation lane: seeded schedules of the real parts over a modelled database, on one fake clock. See
// docs/reference/fault-lanes.md.
import { parseArgs } from 'node:util'
import { runPlanted } from './planted.ts'
import { regressions } from './regressions.ts'
import { rules, type Rule, type Violation } from './verdict.ts'
import { simulate, type Counts, type SimulationResult } from './world.ts'

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '200' },
    seed: { type: 'string' },
    minutes: { type: 'string' },
    /** Runs of tasks instead of calls. */
    runs: { type: 'boolean', default: false },
    planted: { type: 'boolean', default: false },
    /** Text that the names of planted bugs must hold. */
    only: { type: 'string', default: '' },
  },
})

/** Least counts of the seeds together, as an average for each seed: with fewer, the lane has shown nothing. */
const leastOfEach: Partial<Counts> = {
  committed: 20,
  notCommitted: 10,
  deliveries: 50,
  recovered: 10,
  unrecoverable: 2,
  deaths: 2,
  freezes: 0.5,
  failovers: 0.25,
  outages: 0.5,
  busOutages: 0.5,
}
/** The same for seeds with runs of tasks. */
const leastWithRuns: Partial<Counts> = {
  runs: 20,
  runSteps: 80,
  stops: 2,
  takeovers: 5,
  deaths: 2,
  freezes: 0.5,
  failovers: 0.25,
  outages: 0.5,
}
const witnesses = 3

interface Run extends SimulationResult {
  readonly seed: number
  /** First step at which the two runs of the seed differ. */
  readonly difference: string | undefined
}

/** Runs a seed twice: a step that depends on anything but the seed makes the two schedules differ. */
async function runTwice(seed: number): Promise<Run> {
  const first = await simulate(seed, values.runs)
  const second = await simulate(seed, values.runs)
  const length = Math.max(first.trace.length, second.trace.length)
  for (let line = 0; line < length; line++) {
    const [one, other] = [first.trace[line], second.trace[line]]
    if (one !== other) return { ...first, seed, difference: `line ${line + 1}:\n    ${one}\n    ${other}` }
  }
  return { ...first, seed, difference: undefined }
}

function printSchedule({ trace }: Pick<Run, 'trace'>): void {
  for (const line of trace) console.log(`  ${line}`)
}

function printViolations(violations: readonly Violation[]): void {
  for (const rule of Object.keys(rules) as Rule[]) {
    const found = violations.filter((violation) => violation.rule === rule)
    if (found.length === 0) continue
    console.log(`  BROKEN  ${rule.padEnd(8)}${rules[rule]}  (${found.length} times)`)
    for (const { atMs, what } of found.slice(0, witnesses))
      console.log(`          at ${atMs.toFixed(0)} ms: ${what}`)
  }
}

function hasFailed({ violations, difference }: Run): boolean {
  return violations.length > 0 || difference !== undefined
}

async function runAll(seeds: Iterable<number>, isOver: () => boolean): Promise<void> {
  const began = performance.now()
  const totals = new Map<string, number>()
  let [passed, failed] = [0, 0]
  for (const seed of seeds) {
    if (isOver()) break
    const run = await runTwice(seed)
    for (const [name, count] of Object.entries(run.counts)) totals.set(name, (totals.get(name) ?? 0) + count)
    if (!hasFailed(run)) {
      passed += 1
      continue
    }
    console.log(`seed ${seed} failed`)
    if (run.difference !== undefined) console.log(`  its two runs part at ${run.difference}`)
    printViolations(run.violations)
    if (failed === 0) printSchedule(run)
    console.log(
      `  again: node --import tsx test/simulation/run.ts ${values.runs ? '--runs ' : ''}--seed ${seed}`,
    )
    console.log(`  for test/simulation/regressions.ts: { seed: ${seed}, found: '…' }`)
    failed += 1
  }
  const seconds = (performance.now() - began) / 1_000
  const runs = passed + failed
  console.log(`${runs} seeds, each twice, in ${seconds.toFixed(1)} s`)
  for (const [name, count] of totals) console.log(`  ${name}: ${count}`)
  for (const [name, least] of Object.entries(values.runs ? leastWithRuns : leastOfEach)) {
    if ((totals.get(name) ?? 0) >= least * runs) continue
    console.log(`INVALID  too few ${name}: ${totals.get(name) ?? 0}, at least ${least * runs} are needed`)
    failed += 1
  }
  console.log(`${passed} passed, ${failed} failed`)
  process.exit(failed === 0 ? 0 : 1)
}

function* newSeeds(): Generator<number> {
  for (;;) yield Math.floor(Math.random() * 2 ** 31)
}

async function printPlanted(): Promise<void> {
  const results = await runPlanted(Number(values.seeds), values.only)
  for (const { bug, rule, seed, what, others } of results) {
    const word = seed === undefined ? 'MISSED' : 'caught'
    const where =
      seed === undefined ? `broken instead: ${others.join(', ') || 'nothing'}` : `seed ${seed}: ${what}`
    console.log(`${word}  ${bug.padEnd(52)}  ${rule.padEnd(8)}${where}`)
  }
  const failed = results.filter(({ seed }) => seed === undefined).length
  console.log(`${results.length - failed} passed, ${failed} failed`)
  process.exit(failed === 0 ? 0 : 1)
}

if (values.planted) await printPlanted()
else if (values.seed !== undefined) {
  const run = await runTwice(Number(values.seed))
  printSchedule(run)
  if (run.difference !== undefined) console.log(`its two runs part at ${run.difference}`)
  printViolations(run.violations)
  process.exit(hasFailed(run) ? 1 : 0)
} else if (values.minutes !== undefined) {
  const end = performance.now() + Number(values.minutes) * 60_000
  await runAll(newSeeds(), () => performance.now() > end)
} else {
  const known = regressions.map(({ seed }) => seed)
  const seeds = Array.from({ length: Number(values.seeds) }, (_, index) => index + 1)
  await runAll(new Set([...(values.runs ? [] : known), ...seeds]), () => false)
}

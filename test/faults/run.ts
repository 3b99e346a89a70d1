// The real-process fault lane: a seeded run, or with --planted the table of planted bugs. See docs/reference/fault-lanes.md.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { createNodeBundles } from './build-node.ts'
import { rules, type Rule, type Violation } from './checker.ts'
import { runFaults } from './driver.ts'

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    seed: { type: 'string' },
    'min-operations': { type: 'string', default: '2000' },
    'min-kills': { type: 'string', default: '15' },
    'min-postgres-crashes': { type: 'string', default: '3' },
    'min-lost-commits': { type: 'string', default: '20' },
    planted: { type: 'boolean', default: false },
    keep: { type: 'boolean', default: false },
  },
})

/** Rules of which one run can show a violation. */
const witnesses = 3

async function main(): Promise<number> {
  const bundles = await createNodeBundles()
  try {
    const failed = values.planted ? 0 : await oneRun(await bundles.build('sources'))
    return failed
  } finally {
    await bundles.close()
  }
}

async function oneRun(bundle: string): Promise<number> {
  const seed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.seed)
  const folder = await mkdtemp(join(tmpdir(), 'lockstep-faults-'))
  const historyPath = join(folder, 'history.jsonl')
  const logPath = join(folder, 'nodes.log')
  console.log(`seed ${seed}, ${values.seconds} s`)
  const { counts, violations, recoveredAfterMs } = await runFaults({
    bundle,
    seed,
    seconds: Number(values.seconds),
    historyPath,
    logPath,
    weight: {
      operations: Number(values['min-operations']),
      kills: Number(values['min-kills']),
      postgresCrashes: Number(values['min-postgres-crashes']),
      lostCommits: Number(values['min-lost-commits']),
    },
  })
  const { faults, told, ...totals } = counts
  for (const [name, count] of Object.entries(totals)) console.log(`  ${name}: ${count}`)
  console.log(
    `  told: ${Object.entries(told)
      .map(([name, count]) => `${count} ${name}`)
      .join(', ')}`,
  )
  for (const [name, count] of Object.entries(faults).toSorted(([a], [b]) => (a < b ? -1 : 1)))
    console.log(`  fault ${name}: ${count}`)
  console.log(`  recovered ${Math.round(recoveredAfterMs)} ms after the last fault`)
  const failed = printVerdict(violations)
  if (failed === 0 && !values.keep) await rm(folder, { recursive: true, force: true })
  else console.log(`history and logs: ${folder}`)
  console.log(`${Object.keys(rules).length - failed} passed, ${failed} failed`)
  return failed
}

function printVerdict(violations: readonly Violation[]): number {
  const names = Object.keys(rules) as Rule[]
  let failed = 0
  for (const rule of names) {
    const broken = violations.filter((violation) => violation.rule === rule)
    const word = broken.length === 0 ? 'holds  ' : rule === 'I13' ? 'INVALID' : 'BROKEN '
    console.log(
      `${word}  ${rule.padEnd(3)}  ${rules[rule]}${broken.length === 0 ? '' : `  (${broken.length} times)`}`,
    )
    if (broken.length > 0) failed += 1
    for (const { what, witness } of broken.slice(0, witnesses)) {
      console.log(`         ${what}`)
      for (const line of witness) console.log(`           ${JSON.stringify(line)}`)
    }
  }
  return failed
}

process.exitCode = (await main()) === 0 ? 0 : 1

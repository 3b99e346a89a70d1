// The real-process fault lane: a seeded run, or with --planted the table of planted bugs. See docs/reference/fault-lanes.md.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { startOwnPostgres } from '../support/postgres.ts'
import { createNodeBundles, type NodeBundles } from './build-node.ts'
import { groupBy } from './check-log.ts'
import { rules, type Rule, type Violation } from './checker.ts'
import { runFaults } from './driver.ts'
import { runPlanted } from './planted.ts'

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

/** Witnesses printed of violations that are alike. */
const witnesses = 2

async function main(): Promise<number> {
  const bundles = await createNodeBundles()
  try {
    return await (values.planted ? printPlanted(bundles) : oneRun(await bundles.build('sources')))
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

async function printPlanted(bundles: NodeBundles): Promise<number> {
  const { server, close } = await startOwnPostgres({ durable: false })
  try {
    const results = await runPlanted({ bundles, serverUrl: server.url })
    let failed = 0
    for (const { bug, rule, caught, clean, violations } of results) {
      const passed = caught && clean.length === 0
      if (!passed) failed += 1
      const witness = violations.find((violation) => violation.rule === rule)?.what ?? ''
      console.log(`${caught ? 'caught' : 'MISSED'}  ${bug.padEnd(36)}  ${rule.padEnd(3)}  ${witness}`)
      if (!caught) console.log(`        found instead: ${JSON.stringify(violations.slice(0, witnesses))}`)
      for (const violation of clean) {
        console.log(
          `        without the bug: ${violation.rule} ${violation.what} ${JSON.stringify(violation.witness)}`,
        )
      }
    }
    console.log(`${results.length - failed} passed, ${failed} failed`)
    return failed
  } finally {
    await close()
  }
}

function printVerdict(violations: readonly Violation[]): number {
  const names = Object.keys(rules) as Rule[]
  let failed = 0
  for (const rule of names) {
    const found = violations.filter((violation) => violation.rule === rule)
    const broken = found.filter(({ known }) => known !== true)
    const word = broken.length === 0 ? 'holds  ' : rule === 'I13' ? 'INVALID' : 'BROKEN '
    const times = broken.length === 0 ? '' : `  (${broken.length} times)`
    console.log(`${word}  ${rule.padEnd(3)}  ${rules[rule]}${times}`)
    if (broken.length > 0) failed += 1
    for (const [what, alike] of groupBy(found, (violation) => violation.what.replaceAll(/\d+/g, '#'))) {
      console.log(`         ${alike[0]?.known === true ? 'known limit, ' : ''}${alike.length} times: ${what}`)
      for (const { witness } of alike.slice(0, witnesses)) {
        for (const line of witness) console.log(`           ${JSON.stringify(line)}`)
        console.log('')
      }
    }
  }
  return failed
}

const failed = await main()
// Explicitly: after hours of cut connections a socket of the driver's own may be left that would hold it open, and
// the verdict has been given.
process.exit(failed === 0 ? 0 : 1)

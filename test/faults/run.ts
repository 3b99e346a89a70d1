// The real-process fault lane: a seeded run, or with --planted the table of planted bugs. See docs/reference/fault-lanes.md.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { startOwnPostgres } from '../support/postgres.ts'
import { createNodeBundles, type NodeBundles } from './build-node.ts'
import { groupBy } from './check-log.ts'
import type { Weight } from './check-weight.ts'
import { rules, type Rule, type Violation } from './checker.ts'
import { busKinds, type BusKind } from './bus-leg.ts'
import { runFaults } from './driver.ts'
import { runTestedBugs } from './planted-tests.ts'
import { runPlanted } from './planted.ts'

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    seed: { type: 'string' },
    bus: { type: 'string', default: 'postgres' },
    subscribers: { type: 'string', default: '0' },
    'min-operations': { type: 'string', default: '2000' },
    'min-kills': { type: 'string', default: '15' },
    'min-postgres-crashes': { type: 'string', default: '3' },
    'min-lost-commits': { type: 'string', default: '20' },
    'min-deliveries': { type: 'string' },
    'min-broker-kills': { type: 'string', default: '0' },
    'min-black-holes': { type: 'string', default: '0' },
    'min-stalls': { type: 'string', default: '0' },
    'min-runs': { type: 'string', default: '0' },
    planted: { type: 'boolean', default: false },
    only: { type: 'string' },
    keep: { type: 'boolean', default: false },
  },
})

/**
 * Bytes that nodes must hear over the bus for each operation: far less than its events take, and the bus is whole for
 * most of the time.
 */
const leastBusBytes = 100

/** Number of witnesses printed for violations that are alike. */
const witnesses = 2

async function main(): Promise<number> {
  const bundles = await createNodeBundles()
  try {
    return await (values.planted ? printPlanted(bundles) : allRuns(await bundles.build('sources')))
  } finally {
    await bundles.close()
  }
}

/** Plays a run for each of the buses asked for. */
async function allRuns(bundle: string): Promise<number> {
  const buses = values.bus.split(',').map((name) => {
    const bus = busKinds.find((kind) => kind === name)
    if (bus === undefined) throw new Error(`there is no bus ${name}; there are ${busKinds.join(', ')}`)
    return bus
  })
  let failed = 0
  for (const bus of buses) failed += await oneRun(bundle, bus)
  const total = buses.length * Object.keys(rules).length
  console.log(`${total - failed} passed, ${failed} failed`)
  return failed
}

function weightFor(bus: BusKind): Weight {
  const hasConnections = bus !== 'memory'
  const hasCrowd = Number(values.subscribers) > 0
  const deliveries = values['min-deliveries']
  return {
    operations: Number(values['min-operations']),
    // The nodes of the memory bus share one process, so there are fewer to kill.
    kills: Math.ceil(Number(values['min-kills']) / (bus === 'memory' ? 3 : 1)),
    postgresCrashes: Number(values['min-postgres-crashes']),
    lostCommits: Number(values['min-lost-commits']),
    subscribers: Number(values.subscribers),
    runs: Number(values['min-runs']),
    ...(deliveries === undefined ? {} : { deliveries: Number(deliveries) }),
    brokerKills: bus === 'redis' || bus === 'nats' ? Number(values['min-broker-kills']) : 0,
    blackHoles: hasConnections ? Number(values['min-black-holes']) : 0,
    stalls: hasConnections ? Number(values['min-stalls']) : 0,
    busBytes: hasConnections && hasCrowd ? Number(values['min-operations']) * leastBusBytes : 0,
  }
}

async function oneRun(bundle: string, bus: BusKind): Promise<number> {
  const seed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.seed)
  const folder = await mkdtemp(join(tmpdir(), 'lockstep-faults-'))
  const historyPath = join(folder, 'history.jsonl')
  const logPath = join(folder, 'nodes.log')
  console.log(`seed ${seed}, ${values.seconds} s, bus ${bus}`)
  const { counts, violations, recoveredAfterMs } = await runFaults({
    bundle,
    seed,
    seconds: Number(values.seconds),
    historyPath,
    logPath,
    weight: weightFor(bus),
    bus,
    subscribers: Number(values.subscribers),
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
  return failed
}

async function printPlanted(bundles: NodeBundles): Promise<number> {
  const { server, close } = await startOwnPostgres({ durable: false })
  try {
    const { only } = values
    const results = await runPlanted({
      bundles,
      serverUrl: server.url,
      ...(only === undefined ? {} : { only }),
    })
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
    const tested = await runTestedBugs(only)
    for (const { bug, test, isNoticed, why, said } of tested) {
      if (!isNoticed) failed += 1
      console.log(`${isNoticed ? 'caught' : 'MISSED'}  ${bug.padEnd(36)}  ${test}`)
      if (!isNoticed) console.log(`        ${why}\n${said}`)
    }
    console.log(`${results.length + tested.length - failed} passed, ${failed} failed`)
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
// Exits explicitly: after hours of cut connections a socket of the driver's own may be left that would keep the process
// open, and the verdict has been given.
process.exit(failed === 0 ? 0 : 1)

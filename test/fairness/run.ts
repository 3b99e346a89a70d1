// The fairness lane: thousands of sockets and a steady load, beside twenty users who do their worst within the limits.
//   node --import tsx test/fairness/run.ts --sockets 3000 --rounds 3 --calm 10 --storm 15
//   node --import tsx test/fairness/run.ts --planted
import { mkdirSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { createNodeBundles } from '../faults/build-node.ts'
import type { Storm } from './deeds.ts'
import { plantedBugs } from './planted.ts'
import { FairnessTrial } from './trial.ts'

const { values } = parseArgs({
  options: {
    sockets: { type: 'string' },
    /** Storms that make the nodes busy; one that exhausts their pools follows. */
    rounds: { type: 'string' },
    /** Seconds of a window. */
    calm: { type: 'string' },
    storm: { type: 'string' },
    planted: { type: 'boolean', default: false },
    /** Text that the names of planted bugs must hold. */
    only: { type: 'string', default: '' },
    /** Folder for processor profiles of the nodes during the storm. */
    profiles: { type: 'string' },
    /** Says of each window where the time of its slowest calls went. */
    trace: { type: 'boolean', default: false },
  },
})
if (values.profiles !== undefined) mkdirSync(values.profiles, { recursive: true })
const whole = { sockets: 3_000, rounds: 3, calm: 10, storm: 15, fillMs: 45_000 }
// A bug shows in one storm, and with fewer who listen.
const short = { sockets: 300, rounds: 1, calm: 6, storm: 8, fillMs: 30_000 }
const defaults = values.planted ? short : whole
const trial = new FairnessTrial({
  sockets: Number(values.sockets ?? defaults.sockets),
  calmMs: Number(values.calm ?? defaults.calm) * 1_000,
  stormMs: Number(values.storm ?? defaults.storm) * 1_000,
  fillMs: defaults.fillMs,
  profiles: values.profiles,
  isTraced: values.trace,
})

const bundles = await createNodeBundles('test/fairness/node.ts')
// Nodes and abusers end when this process is gone, and so does Postgres.
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () => void bundles.close().finally(() => process.exit(1)))
let [passed, failed] = [0, 0]
const count = (holds: boolean): void => {
  if (holds) passed += 1
  else failed += 1
}

async function play(): Promise<void> {
  const busy = Array.from({ length: Number(values.rounds ?? defaults.rounds) }, (): Storm => 'busy')
  const { checks, invalid } = await trial.run(await bundles.build('plain'), [...busy, 'pool'])
  for (const { name, holds, shown } of checks) {
    count(holds)
    console.log(`  ${holds ? 'ok    ' : 'FAILED'}  ${name}: ${shown}`)
  }
  for (const reason of invalid) {
    count(false)
    console.log(`  INVALID  ${reason}`)
  }
}

async function playPlanted(): Promise<void> {
  const chosen = plantedBugs.filter(({ bug }) => bug.includes(values.only))
  for (const [n, { bug, storm }] of chosen.entries()) {
    const began = performance.now()
    const { checks } = await trial.run(await bundles.build(`planted-${n}`, [bug]), [storm])
    const found = checks.filter(({ holds, isOfRun }) => !holds && isOfRun !== true)
    count(found.length > 0)
    const seconds = Math.round((performance.now() - began) / 1_000)
    const shown = found.map(({ name, shown: figures }) => `${name}: ${figures}`).join('; ')
    console.log(`  ${found.length > 0 ? 'caught' : 'MISSED'}  ${bug} (${seconds} s) ${shown}`)
  }
}

try {
  await (values.planted ? playPlanted() : play())
} finally {
  await bundles.close()
}
console.log(`${passed} passed, ${failed} failed`)
process.exit(failed === 0 ? 0 : 1)

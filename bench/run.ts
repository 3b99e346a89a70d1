// npm run bench; what it takes stands in `usage`.
import { parseArgs } from 'node:util'
import { compareUsage, runCompare } from './compare/command.ts'
import { built, describeBuild } from './harness/built.ts'
import { startBenchPostgres, type BenchPostgres } from './harness/database.ts'
import type { Lane, LaneContext } from './harness/lane.ts'
import { describeMachine } from './harness/machine.ts'
import { report } from './harness/report.ts'
import { saveResult } from './harness/results.ts'
import { printFindings } from './harness/print.ts'
import { lanes, quickLanes } from './lanes/index.ts'

const usage = `npm run bench -- [lanes] [--quick] [--save] [--rounds 15] [--seconds 0.8] [--sockets 5000]
npm run bench -- list      names the lanes
npm run bench -- report    makes the tables of docs/performance.md from bench/results
${compareUsage}`

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: 'boolean', default: false },
    save: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    seconds: { type: 'string' },
    sockets: { type: 'string', default: '5000' },
    lanes: { type: 'string' },
    help: { type: 'boolean', short: 'h', default: false },
  },
})
const { quick } = values

// Children inherit it: what Lockstep notices in development is not what is measured.
process.env['NODE_ENV'] ??= 'production'

// Children and Postgres end with the exit of this process; a signal alone would leave them.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130))

if (values.help) console.log(usage)
else if (positionals[0] === 'report') await report()
else if (positionals[0] === 'compare') {
  // A driver that holds a socket open must not hold the run.
  process.exit(await runCompare({ revision: positionals[1], ...values }))
} else if (positionals[0] === 'list') list()
else await runLanes(chosen(positionals))

function list(): void {
  for (const { name, about, minutes } of lanes) console.log(`${name.padEnd(12)} ${about} (${minutes} min)`)
}

function chosen(wanted: readonly string[]): readonly Lane[] {
  if (wanted.length === 0) return quick ? quickLanes : lanes
  return wanted.map((name) => {
    const lane = lanes.find((candidate) => candidate.name === name)
    if (lane === undefined) {
      console.error(`There is no lane "${name}". There are: ${lanes.map((one) => one.name).join(', ')}.`)
      process.exit(1)
    }
    return lane
  })
}

async function runLanes(running: readonly Lane[]): Promise<void> {
  const began = performance.now()
  let postgres: Promise<BenchPostgres> | undefined
  const context: LaneContext = {
    quick,
    rounds: Number(values.rounds ?? (quick ? 5 : 15)),
    seconds: Number(values.seconds ?? (quick ? 0.3 : 0.8)),
    sockets: Number(values.sockets),
    postgres: () => (postgres ??= startBenchPostgres()),
    say: (line) => console.log(line),
  }
  const figures: Record<string, number> = {}
  if (!quick) {
    const minutes = running.reduce((sum, lane) => sum + lane.minutes, 0)
    console.log(`${running.map(({ name }) => name).join(', ')}: about ${minutes} minutes`)
  }
  try {
    // Postgres starts meanwhile.
    const [build] = await Promise.all([built(), context.postgres()])
    console.log(
      `measured: ${describeBuild(build)}${build.tookMs === undefined ? '' : `, compiled in ${(build.tookMs / 1_000).toFixed(1)} s`}`,
    )
    for (const lane of running) {
      const machine = describeMachine((await context.postgres()).version)
      const findings = await lane.run(
        quick ? { ...context, rounds: Math.min(context.rounds, affordable(began)) } : context,
      )
      Object.assign(figures, findings.figures)
      if (!quick) printFindings(lane.name, findings)
      const { rounds, seconds } = context
      if (values.save)
        await saveResult({
          lane: lane.name,
          quick,
          rounds,
          seconds,
          machine,
          library: describeBuild(build),
          ...findings,
        })
    }
  } finally {
    await (await postgres)?.close()
  }
  const machine = describeMachine((await postgres)?.version)
  console.log(
    `${machine.processor}, ${machine.cores} cores, load ${machine.load.join(' ')}; ${Object.entries(
      machine.versions,
    )
      .map(([name, version]) => `${name} ${version}`)
      .join(', ')}; ${((performance.now() - began) / 1_000).toFixed(1)} s`,
  )
  console.log(JSON.stringify(figures))
  // A driver that holds a socket open must not hold the run.
  process.exit(0)
}

/** Rounds of the next lane of a quick run, which shall end within a minute on a busy machine, too. */
function affordable(began: number): number {
  const seconds = (performance.now() - began) / 1_000
  return seconds < 20 ? 5 : seconds < 32 ? 3 : seconds < 42 ? 2 : 1
}

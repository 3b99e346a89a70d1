// Plays a pass of the suite, in a process of its own: node --import tsx test/issue370/pass.ts <mode> <database url>
import { agentExecutionStateSync } from './agent-execution-state-sync.issue370.ts'
import { toFigures, violationKeys, type PassResult } from './figures.ts'
import { measureAddedLatency } from './latency.ts'
import { readMonitor } from './monitor-figures.ts'
import { multiLayerStateSynchronization } from './multi-layer-state-synchronization.issue370.ts'
import { runScenario, type ScenarioResult } from './scenario.ts'
import { Stage } from './stage.ts'
import { websocketDatabaseCoordination } from './websocket-database-coordination.issue370.ts'

const files = [multiLayerStateSynchronization, websocketDatabaseCoordination, agentExecutionStateSync]

export async function runPass(mode: PassResult['mode'], databaseUrl: string): Promise<PassResult> {
  const began = performance.now()
  const stage = await Stage.open(mode, databaseUrl)
  try {
    const scenarios: ScenarioResult[] = []
    for (const { file, scenarios: all } of files) {
      for (const scenario of all) scenarios.push(await runScenario(file, scenario, stage))
    }
    // A scenario that broke off may have left an operation without an outcome; it has failed for that already.
    const ended = stage.asked.filter(({ outcome }) => outcome !== undefined)
    const verdicts = await stage.verdicts(ended)
    const known = new Set(stage.asked.map(({ operationId }) => operationId))
    const phantoms = stage.witness.sightings.filter(({ operationId }) => !known.has(operationId)).length
    return {
      mode,
      scenarios,
      figures: toFigures(verdicts, phantoms),
      goldenPath: stage.goldenPath,
      agentSteps: stage.agentSteps,
      // Operations in mode off are not measured.
      monitor: mode === 'off' ? undefined : await readMonitor(stage, violationKeys(verdicts)),
      latency: mode === 'enforce' ? await measureAddedLatency(stage) : undefined,
      memoryMb: process.resourceUsage().maxRSS / 1_024,
      clockErrorMs: stage.clockErrorMs,
      seconds: (performance.now() - began) / 1_000,
    }
  } finally {
    await stage.close()
  }
}

const [mode, databaseUrl] = process.argv.slice(2) as [PassResult['mode'], string]
// A lost channel means that the process that started this one is gone, and its database with it.
process.once('disconnect', () => process.exit(1))
const result = await runPass(mode, databaseUrl)
process.send?.(result, () => process.exit(0))

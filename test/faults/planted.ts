// The checker is tested by bugs: each planted one has to be caught by its rule, in a short run made to show it. The same
// run of the sources as they are has to be clean, or the rule would catch nothing in particular.
import { Arena, type ArenaOptions } from './arena.ts'
import type { NodeBundles } from './build-node.ts'
import type { Rule, Violation } from './checker.ts'
import { mutants, type Mutant, type MutantName } from './mutants.ts'
import * as jobs from './planted-jobs.ts'
import * as schedules from './planted-schedules.ts'
import type { Schedule } from './planted-schedules.ts'

interface Planted {
  readonly bug: MutantName
  readonly rule: Rule
  readonly schedule: Schedule
}

export const plantedBugs: readonly Planted[] = [
  { bug: 'publish before COMMIT', rule: 'I1', schedule: schedules.lastCommitFails },
  { bug: 'publish before COMMIT', rule: 'I5', schedule: schedules.commitIsLate },
  { bug: 'publish on rollback', rule: 'I1', schedule: schedules.lastWorkFails },
  { bug: 'gap skipped', rule: 'I2', schedule: schedules.otherNodeCommits },
  { bug: 'bus taken for the truth', rule: 'I2', schedule: schedules.busCameBack },
  { bug: 'resume skips one', rule: 'I2', schedule: schedules.listenerWasAway },
  { bug: 'resume repeats one', rule: 'I3', schedule: schedules.listenerWasAway },
  {
    bug: 'page of the log loses an event at its edge',
    rule: 'I2',
    schedule: schedules.listenerWasAwayLonger,
  },
  { bug: 'offset from a sequence', rule: 'I4', schedule: schedules.commitFails },
  { bug: 'notice kept in memory', rule: 'I6', schedule: schedules.workFails },
  { bug: 'notice written twice', rule: 'I6', schedule: schedules.workFails },
  {
    bug: 'notice of a settlement that somebody else had decided',
    rule: 'I7',
    schedule: schedules.anotherCommitsMeanwhile,
  },
  { bug: 'unheard id not closed', rule: 'I6', schedule: schedules.copyComesLate },
  { bug: 'lost COMMIT guessed as rolled back', rule: 'I6', schedule: schedules.commitIsSlow },
  { bug: 'lost COMMIT guessed as committed', rule: 'I6', schedule: schedules.commitNeverArrives },
  { bug: 'replay runs the work again', rule: 'I7', schedule: schedules.sentAgain },
  { bug: 'replay forgets the result', rule: 'I7', schedule: schedules.sentAgain },
  { bug: 'flush not fenced', rule: 'I9', schedule: schedules.flightIsLate },
  { bug: 'living node settled, not fenced', rule: 'I9', schedule: schedules.workTakesLong },
  { bug: 'outage of the bus forgotten', rule: 'I11', schedule: schedules.busWasAway },
  {
    bug: 'slot written over while an operation of it is open',
    rule: 'I6',
    schedule: schedules.nodeDiesLater,
  },
  { bug: 'orphans forgotten before they are settled', rule: 'I6', schedule: schedules.nodeDiesCommitting },
  { bug: 'orphans left open', rule: 'I11', schedule: schedules.nodeDies },
  { bug: 'event shown before it has a place', rule: 'I1', schedule: schedules.workFails },
  { bug: 'hole never filled', rule: 'I11', schedule: schedules.otherNodeCommits },
  { bug: 'positions of a reply one too far', rule: 'I4', schedule: schedules.workFails },
  { bug: 'orphan reported in no words of its own', rule: 'I6', schedule: schedules.nodeDies },
  {
    bug: 'client forgets its calls when its page is loaded anew',
    rule: 'I6',
    schedule: schedules.pageIsReloaded,
  },
  {
    bug: 'client reports again what its last page has reported from memory',
    rule: 'I6',
    schedule: schedules.pageIsReloadedLater,
  },
  { bug: 'client takes a lost reply for a refusal', rule: 'I6', schedule: schedules.replyIsLost },
  { bug: 'outcome answered for another input', rule: 'I7', schedule: schedules.anotherInput },
  { bug: 'settlement answers for another input', rule: 'I7', schedule: schedules.anotherCommitsMeanwhile },
  { bug: 'events of a savepoint kept that was rolled back', rule: 'I7', schedule: schedules.nestedFails },
  { bug: 'events of a failed attempt kept', rule: 'I7', schedule: schedules.attemptMeetsConflict },
  { bug: 'notice sent to another user', rule: 'I6', schedule: schedules.somebodyElseListens },
  { bug: 'raw error shown to the user', rule: 'I8', schedule: schedules.workFails },
  { bug: 'channel joined without asking who may', rule: 'I8', schedule: schedules.somebodyElseJoins },
  { bug: 'outcome given to whoever asks', rule: 'I8', schedule: schedules.somebodyElseAsks },
  { bug: 'rows of a part left out', rule: 'I7', schedule: schedules.workFails },
  { bug: 'what a part has left not withdrawn', rule: 'I6', schedule: schedules.workLeavesSomething },
  { bug: 'heads of channels not compared', rule: 'I11', schedule: schedules.withoutBus },
  { bug: 'lease lost and not taken again', rule: 'I11', schedule: schedules.nodeStandsStill },
  { bug: 'step committed without the gate', rule: 'I9', schedule: jobs.nodeStandsStillCommitting },
  { bug: 'stop acknowledged and forgotten', rule: 'I15', schedule: jobs.anotherNodeStops },
  { bug: "step's effect twice", rule: 'I15', schedule: jobs.nodeDiesBetweenSteps },
  { bug: 'run left active without an owner', rule: 'I15', schedule: jobs.nodeDiesBetweenSteps },
  { bug: 'broken idle connection not listened to', rule: 'I12', schedule: schedules.idleConnectionsBreak },
]

export interface PlantedResult {
  readonly bug: string
  readonly rule: Rule
  readonly caught: boolean
  /** Violations of the same schedule in the sources as they are; none, if all is well. */
  readonly clean: readonly Violation[]
  readonly violations: readonly Violation[]
}

export interface PlantedOptions {
  readonly bundles: NodeBundles
  readonly serverUrl: string
  /** Text that the names of the planted bugs must hold. */
  readonly only?: string
  /** Number of arenas that run at once. */
  readonly parallel?: number
}

/** Place of the bug: in the nodes, in their database, or in the client of the callers. */
type Variant = Pick<ArenaOptions, 'bundle' | 'createClient' | 'databaseBugs' | 'nodeBug'>
type ClientModule = Required<Pick<ArenaOptions, 'createClient'>>

export async function runPlanted({
  bundles,
  serverUrl,
  only = '',
  parallel = 3,
}: PlantedOptions): Promise<readonly PlantedResult[]> {
  const sources = await bundles.build('sources')
  const controls = new Map<Schedule, Promise<readonly Violation[]>>()
  let arenas = 0
  const buildWith = async (bug: MutantName): Promise<Variant> => {
    const name = bug.replaceAll(/\W+/g, '-')
    const mutant: Mutant = mutants[bug]
    if (!bug.startsWith('client ')) {
      const { points = [], database, node } = mutant
      const bundle = points.length === 0 ? sources : await bundles.build(name, points)
      return { bundle, databaseBugs: database, nodeBug: node }
    }
    const { createClient } = (await import(await bundles.buildClient(name, mutant.points))) as ClientModule
    return { bundle: sources, createClient }
  }
  const play = async (variant: Variant, { run, ...options }: Schedule): Promise<readonly Violation[]> => {
    arenas += 1
    const arena = await Arena.open({ ...variant, serverUrl, database: `planted_${arenas}`, ...options })
    try {
      await run(arena)
      return await arena.verdict()
    } finally {
      await arena.close()
    }
  }
  const runOne = async ({ bug, rule, schedule }: Planted): Promise<PlantedResult> => {
    const violations = await play(await buildWith(bug), schedule)
    const control = controls.get(schedule) ?? play({ bundle: sources }, schedule)
    controls.set(schedule, control)
    const caught = violations.some((violation) => violation.rule === rule)
    return { bug, rule, caught, clean: await control, violations }
  }
  const results: PlantedResult[] = []
  const asked = plantedBugs.filter(({ bug }) => bug.includes(only))
  const waiting = asked.map((planted, index) => ({ planted, index }))
  const worker = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      results[next.index] = await runOne(next.planted)
    }
  }
  await Promise.all(Array.from({ length: parallel }, worker))
  return results
}

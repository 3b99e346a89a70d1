// Check of I13: a run that was too light to show anything is invalid, and has not passed.
import { commitFaultKinds } from './commit-faults.ts'
import type { Violation } from './checker.ts'
import type { HistoryLine } from './history.ts'
import type { Oracle } from './oracle.ts'

/** Least amounts that a run must have had. */
export interface Weight {
  readonly operations: number
  readonly kills: number
  readonly postgresCrashes: number
  /** Lost replies of COMMITs: of those that committed, and of those that did not. */
  readonly lostCommits: number
  /** Least number of deliveries. Default: as many as operations. */
  readonly deliveries?: number
  /** Subscribers to wide channels. */
  readonly subscribers?: number
  readonly brokerKills?: number
  /** Connections of the bus that carried nothing any more, in either direction, and stayed open. */
  readonly blackHoles?: number
  /** Stalls of bus connections in one direction, counted in each of the two directions. */
  readonly stalls?: number
  /** Bytes that the nodes must have heard from the bus: a run with a silent bus shows nothing of it. */
  readonly busBytes?: number
  /** Runs whose start was acknowledged, and the part of them whose stop was. */
  readonly runs?: number
  /** Names of faults that must have happened at least once. */
  readonly faults?: readonly string[]
}

export interface Counts {
  readonly operations: number
  readonly kills: number
  readonly postgresCrashes: number
  readonly lostAndCommitted: number
  readonly lostAndRolledBack: number
  readonly deliveries: number
  /** Clients whose every byte was searched for marks of others, and the marks found there. */
  readonly searched: number
  readonly marks: number
  readonly busBytes: number
  /** Rollbacks told while the database was away, by a node that died before it could write the outcome. */
  readonly toldAndNeverWritten: number
  readonly runs: number
  readonly runsTakenOver: number
  readonly stops: number
  readonly steps: number
  /** Outcomes that callers were told, by outcome. */
  readonly told: Readonly<Record<string, number>>
  /** Counts of the faults, by name. */
  readonly faults: Readonly<Record<string, number>>
}

/** Least parts of the runs: those that were stopped, and those that a second attempt went on with; and least steps of each. */
const leastStops = 0.05
const leastTaken = 0.05
const leastSteps = 3

/** Names of the faults in a history. */
export const commitFaultName = (kind: string): string => `commit/${kind}`
export const killName = 'kill'
export const postgresCrashName = 'postgres-crash'
export const brokerKillName = 'broker-kill'
export const busFaultName = (kind: 'black-hole' | 'stall-up' | 'stall-down'): string => `bus/${kind}`

export function countRun(history: readonly HistoryLine[], oracle: Oracle): Counts {
  const faults: Record<string, number> = {}
  const told: Record<string, number> = {}
  const lost = { committed: 0, rolled_back: 0 }
  const losing = new Set(commitFaultKinds.filter((kind) => kind !== 'delayed').map(commitFaultName))
  let operations = 0
  let deliveries = 0
  let searched = 0
  let marks = 0
  let busBytes = 0
  let toldAndNeverWritten = 0
  for (const line of history) {
    if (line.kind === 'deliver') deliveries += 1
    if (line.kind === 'run') deliveries += line.to - line.from + 1
    if (line.kind === 'bus') busBytes += line.bytesHeard
    if (line.kind === 'searched') {
      searched += 1
      marks += line.marks
    }
    if (line.kind === 'invoke' && line.copy !== true) operations += 1
    if (line.kind === 'outcome') told[line.told] = (told[line.told] ?? 0) + 1
    if (line.kind === 'fail' && line.told === 'refused' && line.copy !== true) {
      told['refused'] = (told['refused'] ?? 0) + 1
    }
    if (line.kind === 'outcome' && line.told === 'rolled_back' && !oracle.operations.has(line.id))
      toldAndNeverWritten += 1
    if (line.kind !== 'fault') continue
    faults[line.fault] = (faults[line.fault] ?? 0) + 1
    const id = losing.has(line.fault) ? (line.id ?? '') : ''
    const state = oracle.operations.get(id)?.state ?? oracle.runs.operations.get(id)
    if (state === 'committed' || state === 'rolled_back') lost[state] += 1
  }
  const jobs = history.filter((line) => line.kind === 'job')
  return {
    operations,
    kills: Object.entries(faults)
      .filter(([name]) => name === killName || name.startsWith(`${killName}/`))
      .reduce((sum, [, count]) => sum + count, 0),
    postgresCrashes: Object.entries(faults)
      .filter(([name]) => name.startsWith(postgresCrashName))
      .reduce((sum, [, count]) => sum + count, 0),
    lostAndCommitted: lost.committed,
    lostAndRolledBack: lost.rolled_back,
    deliveries,
    searched,
    marks,
    busBytes,
    toldAndNeverWritten,
    runs: jobs.filter(({ what }) => what === 'started').length,
    stops: jobs.filter(({ what }) => what === 'stopped').length,
    runsTakenOver: oracle.runs.runs.filter(({ attempt }) => attempt > 1).length,
    steps: oracle.runs.steps.length,
    told,
    faults,
  }
}

export function checkWeight(
  history: readonly HistoryLine[],
  oracle: Oracle,
  weight: Weight,
): readonly Violation[] {
  const counts = countRun(history, oracle)
  const pairs: readonly (readonly [string, number, number])[] = [
    ['operations', counts.operations, weight.operations],
    ['process kills', counts.kills, weight.kills],
    ['Postgres crashes', counts.postgresCrashes, weight.postgresCrashes],
    ['lost replies of COMMITs that took effect', counts.lostAndCommitted, weight.lostCommits],
    ['lost replies of COMMITs that did not', counts.lostAndRolledBack, weight.lostCommits],
    ['deliveries', counts.deliveries, weight.deliveries ?? weight.operations],
    ['clients whose bytes were searched', counts.searched, weight.subscribers ?? 0],
    // Deliveries to these subscribers carry a mark each.
    ['marks in what was received', counts.marks, weight.deliveries ?? 0],
    ['broker kills', counts.faults[brokerKillName] ?? 0, weight.brokerKills ?? 0],
    ['black holes of the bus', counts.faults[busFaultName('black-hole')] ?? 0, weight.blackHoles ?? 0],
    [
      'stalls of the bus towards the nodes',
      counts.faults[busFaultName('stall-down')] ?? 0,
      weight.stalls ?? 0,
    ],
    ['stalls of the bus from the nodes', counts.faults[busFaultName('stall-up')] ?? 0, weight.stalls ?? 0],
    ['bytes heard from the bus', counts.busBytes, weight.busBytes ?? 0],
    ['runs', counts.runs, weight.runs ?? 0],
    ['stops of runs', counts.stops, Math.ceil((weight.runs ?? 0) * leastStops)],
    ['runs with more than one attempt', counts.runsTakenOver, Math.ceil((weight.runs ?? 0) * leastTaken)],
    ['steps', counts.steps, (weight.runs ?? 0) * leastSteps],
    ...(weight.faults ?? []).map(
      (name) => [`faults of the kind ${name}`, counts.faults[name] ?? 0, 1] as const,
    ),
  ]
  return pairs
    .filter(([, had, wanted]) => had < wanted)
    .map(([name, had, wanted]) => ({
      rule: 'I13',
      what: `${had} ${name}, at least ${wanted} are needed`,
      witness: [],
    }))
}

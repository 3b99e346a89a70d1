// Judges what the windows of a run have shown.
import { shownCalls, shownStandstills, type Moments, type Trace } from './call-trace.ts'
import type { Measured } from './crowd.ts'
import { shownDeeds, storms, type Deeds, type Kind, type Storm } from './deeds.ts'
import type { NodeState } from './node-process.ts'
import { shownShares, type Shares } from './usage.ts'

export interface Check {
  readonly name: string
  /** Set for what says that the run was one, and not how the nodes did. */
  readonly isOfRun?: boolean
  readonly holds: boolean
  readonly shown: string
}

/** A window of the run. */
export interface Phase {
  readonly measured: Measured
  readonly loopLagMs: number
  readonly shares: Shares
  readonly states: readonly NodeState[]
  /** Lines on where the time went. */
  readonly traced?: string
}

/** A calm window, and the stormy one after it. */
export interface Round {
  readonly storm: Storm
  readonly calm: Phase
  readonly stormy: Phase
  readonly deeds: Deeds
}

/** Bound of the latency in a storm, as a multiple of the calm p99. */
const mostTimesSlower = 5
/** Calls of a window that its p99 needs: twelve of them were slower. */
const fewestCalls = 1_200
/** Calls that abusers must have waiting, of each kind, at the beginning and at the end of a storm. */
const fewestWaiting: Readonly<Record<Kind, number>> = {
  calls: 10_000,
  slow: 10_000,
  failures: 8_000,
  questions: 1_000,
  subscribes: 1_000,
  unread: 0,
  holds: 50_000,
}
/** How late the driver may send and read, 99th percentile, so that what it measures is the nodes' doing. */
const mostLateMs = 20
/**
 * Share of the machine that other processes may use: with more, times are compared only with the calm ones of the same
 * minutes.
 */
const mostByOthers = 0.1

export function checksOf(rounds: readonly Round[]): readonly Check[] {
  const kinds = [...new Set(rounds.map(({ storm }) => storm))]
  const stormy = rounds.map((round) => round.stormy)
  const megabytes = stormy.flatMap(({ states }) => states.map(({ rss }) => Math.round(rss / 1e6)))
  const refused = stormy.filter(({ measured }) => measured.others.size > 0)
  return [
    {
      name: 'other users’ operations are accepted',
      holds: refused.length === 0,
      shown:
        refused.length === 0
          ? `all ${stormy.reduce((sum, { measured }) => sum + measured.calls, 0)}`
          : refused.map(({ measured }) => shownOf(measured)).join('; '),
    },
    ...kinds.map((storm) => latencyBeside(storm, rounds)),
    {
      name: 'memory stays bounded',
      holds: megabytes.every((each) => each < 900),
      shown: `${megabytes.join(', ')} MB`,
    },
    {
      name: 'each storm was one',
      isOfRun: true,
      // How much is served is the nodes' doing. Theirs is that they always ask for more, in every way.
      holds: rounds.every(({ storm, deeds }) =>
        storms[storm].every((kind) => deeds[kind].served > 0 && deeds[kind].waiting >= fewestWaiting[kind]),
      ),
      shown: rounds
        .map(({ storm, deeds }) => storms[storm].map((kind) => `${deeds[kind].served} ${kind}`).join(' '))
        .join('; '),
    },
  ]
}

/** Calm windows of the whole run count, since the other work on a machine changes from minute to minute. */
function latencyBeside(storm: Storm, rounds: readonly Round[]): Check {
  const calmMs = rounds.map(({ calm }) => calm.measured.p99)
  const stormyMs = rounds.filter((round) => round.storm === storm).map(({ stormy }) => stormy.measured.p99)
  const times = middleOf(stormyMs, 'higher') / middleOf(calmMs, 'lower')
  const list = (values: readonly number[]): string => values.map((each) => each.toFixed(1)).join(', ')
  return {
    name: `their p99 beside users who exhaust the ${storm === 'busy' ? 'nodes' : 'pool'} stays within ${mostTimesSlower} × of the calm one`,
    holds: times <= mostTimesSlower,
    shown: `${times.toFixed(2)} × (${list(stormyMs)} ms beside ${list(calmMs)} ms)`,
  }
}

/** The median, of an even number the one that makes a run look worse. */
function middleOf(values: readonly number[], side: 'higher' | 'lower'): number {
  const middle = side === 'higher' ? values.length / 2 : (values.length - 1) / 2
  return values.toSorted((a, b) => a - b)[Math.floor(middle)] ?? Number.NaN
}

/**
 * Finds reasons why a run is invalid: on a machine that others use, the driver is late because of them, in the calm as
 * in the storm.
 */
export function invalidities(rounds: readonly Round[]): string[] {
  const phases = rounds.flatMap(({ calm, stormy }) => [calm, stormy])
  const thin = phases
    .filter(({ measured }) => measured.calls < fewestCalls)
    .map(({ measured }) => `a window had ${measured.calls} calls, and a p99 needs ${fewestCalls}`)
  const own = phases.filter(({ shares }) => shares.others <= mostByOthers)
  if (own.length < phases.length)
    console.log(
      `  others took more than ${100 * mostByOthers} % of the machine in ${phases.length - own.length} of ${phases.length} windows: judged by ratio`,
    )
  const late = own
    .filter(({ measured, loopLagMs }) => measured.lateMs > mostLateMs || loopLagMs > mostLateMs)
    .map(
      ({ measured, loopLagMs }) =>
        `the driver was late itself: its calls ${measured.lateMs.toFixed(1)} ms, its loop ${loopLagMs.toFixed(1)} ms (99th percentiles, at most ${mostLateMs})`,
    )
  return [...thin, ...late]
}

export function show(name: string, phase: Phase, deeds?: Deeds): void {
  const { measured, loopLagMs, shares, states, traced } = phase
  const nodes = states.map(
    (node) => `${node.loopLagMs.toFixed(0)} ms (${node.waiting} wait, ${node.refused} refused)`,
  )
  const lines = [
    `processors: ${shownShares(shares)}`,
    `late, p99: driver ${loopLagMs.toFixed(1)} ms, its calls ${measured.lateMs.toFixed(1)} ms, nodes ${nodes.join(', ')}`,
    ...(deeds === undefined ? [] : [`abusers: ${shownDeeds(deeds)}`]),
    ...(traced === undefined ? [] : [traced]),
  ]
  console.log(`  ${name.padEnd(6)} ${shownOf(measured)}\n${lines.join('\n').replaceAll(/^/gm, '         ')}`)
}

export function shownTraces({ moments }: Measured, traces: readonly Trace[], own: string): string {
  const onNodes = new Map(traces.flatMap(({ calls }) => calls))
  const calls = [...moments].map(([n, ends]): Moments => ({ ...onNodes.get(n), ...ends }))
  return [shownCalls(calls), ...traces.map((trace) => `node: ${shownStandstills(trace)}`), own].join('\n')
}

function shownOf({ calls, p50, p99, max, others }: Measured): string {
  return (
    `${calls} calls, p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms, longest ${max.toFixed(0)} ms` +
    [...others].map(([answer, count]) => `, ${count} × ${answer}`).join('')
  )
}

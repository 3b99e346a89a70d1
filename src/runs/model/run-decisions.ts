import type { RunState } from '../../protocol/index.ts'
import { isFinal, type RunInput } from './run-machine.ts'

/** Fate of a run whose node dies: another attempt, or an end. */
export type OnNodeDeath = 'retry' | 'keep' | 'fail'

/** Facts of a run, as its row has them. */
export interface RunFacts {
  readonly state: RunState
  /** Number of its current claim; 0 before the first. */
  readonly attempt: number
  /** Nodes that have died with it. */
  readonly deaths: number
  readonly isStopRequested: boolean
  readonly onNodeDeath: OnNodeDeath
  /** Rest of its time, in milliseconds; null where it has no limit. */
  readonly leftMs: number | null
}

/** Change of a run, in one transaction. */
export interface RunChange {
  readonly inputs: readonly RunInput[]
  readonly attempt: number
  readonly deaths: number
  /** Time until it may be claimed again, in milliseconds. */
  readonly pauseMs: number
}

/** Node deaths after which a run is given up. */
export const mostDeaths = 5

/** Pause after the given number of node deaths, in milliseconds: none after the first, since a deploy or a crash is no fault of the run's. */
export function pauseAfterDeathsMs(deaths: number): number {
  return deaths < 2 ? 0 : 1_000 * 2 ** (deaths - 2)
}

/**
 * The change by which a node takes a run on, or ends one that cannot be taken on any more.
 * @param isOwnerDead the node that had it is dead; makes no difference to a run that waits
 * @returns undefined where the run is not to be had
 */
export function changeByClaim(run: RunFacts, isOwnerDead: boolean): RunChange | undefined {
  if (run.state === 'pending') return changeOfWaiting(run)
  if (run.state !== 'running' || !isOwnerDead) return undefined
  const deaths = run.deaths + 1
  const end = (input: RunInput): RunChange => ({ ...unchanged(run), inputs: [input], deaths })
  if (run.isStopRequested) return end('stop')
  if (isOver(run)) return end('expire')
  if (run.onNodeDeath === 'fail' || deaths > mostDeaths) return end('die')
  // Do not rest: only the next claim keeps the text that a dead node had shown.
  const pauseMs = run.onNodeDeath === 'keep' ? 0 : pauseAfterDeathsMs(deaths)
  if (pauseMs > 0) return { ...end('release'), pauseMs }
  return { ...end('claim'), inputs: ['claim', 'begin'], attempt: run.attempt + 1 }
}

function changeOfWaiting(run: RunFacts): RunChange {
  if (run.isStopRequested) return { ...unchanged(run), inputs: ['stop'] }
  if (isOver(run)) return { ...unchanged(run), inputs: ['expire'] }
  return { ...unchanged(run), inputs: ['claim', 'begin'], attempt: run.attempt + 1 }
}

/** Effect of a stop: it cancels a run that waits, asks the node of one that runs, and finds one that has ended. */
export type StopEffect = 'cancels' | 'asks' | 'hasEnded'

export function effectOfStop({ state }: Pick<RunFacts, 'state'>): StopEffect {
  if (isFinal(state)) return 'hasEnded'
  return state === 'pending' ? 'cancels' : 'asks'
}

/** How the code of a run came to its end on its node. */
export type CodeEnding = 'returned' | 'failed' | 'expired' | 'stopped'

/** The change by which a node ends its run. A stop that was acknowledged counts, whatever the code has done since. */
export function changeByEnding(run: RunFacts, ending: CodeEnding): RunChange {
  const inputs: Readonly<Record<CodeEnding, readonly RunInput[]>> = {
    returned: ['return', 'save'],
    failed: ['fail'],
    expired: ['expire'],
    stopped: ['stop'],
  }
  return { ...unchanged(run), inputs: run.isStopRequested ? ['stop'] : inputs[ending] }
}

/** The change by which a node gives its run back, to be claimed by any node after the pause. */
export function changeByRelease(run: RunFacts, pauseMs: number): RunChange {
  if (run.isStopRequested) return { ...unchanged(run), inputs: ['stop'] }
  return { ...unchanged(run), inputs: ['release'], pauseMs }
}

function unchanged({ attempt, deaths }: RunFacts): Omit<RunChange, 'inputs'> {
  return { attempt, deaths, pauseMs: 0 }
}

function isOver({ leftMs }: RunFacts): boolean {
  return leftMs !== null && leftMs <= 0
}

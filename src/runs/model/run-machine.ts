import type { RunState } from '../../protocol/index.ts'

/** Inputs that move a run from one state to the next. */
export type RunInput =
  /** A node claims it, for the first time, again after a pause, or from a node that is dead. */
  | 'claim'
  /** The code of the claim begins. Stands in the transaction of the claim. */
  | 'begin'
  /** The node hands it back, since it stops, or pauses it until its next attempt. */
  | 'release'
  /** The code has returned. */
  | 'return'
  /** The result is saved. Stands in one transaction with `return`. */
  | 'save'
  /** A step threw for the last time, or the code threw by itself. */
  | 'fail'
  /** The time of the run is over. */
  | 'expire'
  /** The nodes of the run have died too often. */
  | 'die'
  /** A user or the application stopped it. */
  | 'stop'

type Arrows = Readonly<Record<RunState, Readonly<Partial<Record<RunInput, RunState>>>>>

/** Every arrow there is. docs/reference/states.md draws them, and a test keeps the two equal. */
export const runArrows: Arrows = {
  pending: { claim: 'starting', expire: 'timeout', stop: 'cancelled' },
  starting: { begin: 'running' },
  running: {
    claim: 'starting',
    release: 'pending',
    return: 'completing',
    fail: 'failed',
    expire: 'timeout',
    die: 'dead',
    stop: 'cancelled',
  },
  completing: { save: 'completed' },
  completed: {},
  failed: {},
  timeout: {},
  dead: {},
  cancelled: {},
}

/** A final state is never left. */
export function isFinal(state: RunState): boolean {
  return Object.keys(runArrows[state]).length === 0
}

/**
 * States that a run passes through by these inputs, without the one that it is in.
 * @throws Error for an input that the state does not take: a fault of the caller's
 */
export function statesBy(from: RunState, inputs: readonly RunInput[]): readonly RunState[] {
  let state = from
  return inputs.map((input) => {
    const next: RunState | undefined = runArrows[state][input]
    if (next === undefined) throw new Error(`a run that is ${state} takes no "${input}"`)
    state = next
    return next
  })
}

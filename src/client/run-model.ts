import type { OngoingRun, RunPhase, RunReport, RunState, RunStateData } from '../protocol/index.ts'

/** Facts of a run that the page has been told. */
export interface KnownRun {
  readonly state: RunState
  readonly phase: RunPhase
  readonly attempt: number
  readonly progress: unknown
  readonly steps: RunReport['steps']
}

type Told = Pick<RunStateData, 'state' | 'phase' | 'attempt'>

/** Stands for a run of which nothing has been told: it has been asked for. */
export const askedRun: KnownRun = {
  state: 'pending',
  phase: 'queued',
  attempt: 0,
  progress: undefined,
  steps: [],
}

const ranks: Readonly<Partial<Record<RunState, number>>> = {
  starting: 1,
  running: 2,
  pending: 3,
  completing: 3,
}
const finalRank = 4

/** Place of a state within one attempt: a run that is given back waits behind what it was. */
const rankOf = (state: RunState): number => ranks[state] ?? finalRank

export const isEnd = ({ state }: Pick<KnownRun, 'state'>): boolean => rankOf(state) === finalRank

/** Whether the run was, when this was told, at least as far as it is known to be. News come by events and by answers, in any order. */
export function isNews(known: Told, told: Told): boolean {
  if (told.attempt !== known.attempt) return told.attempt > known.attempt && !isEnd(known)
  return rankOf(told.state) >= rankOf(known.state) && !isEnd(known)
}

/** Takes what an event tells of the state. */
export function withState(known: KnownRun, told: Told): KnownRun {
  if (!isNews(known, told)) return known
  const { state, phase, attempt } = told
  return { ...known, state, phase, attempt }
}

/**
 * Takes an answer of the server.
 * @param isWhole replaces what is known: the history is another one
 */
export function withAnswer(known: KnownRun, answer: OngoingRun | RunReport, isWhole = false): KnownRun {
  const steps = 'steps' in answer ? answer.steps : known.steps
  const { state, phase, attempt } = answer
  const base = isWhole ? { state, phase, attempt } : withState(known, answer)
  // A null says that there is none, and takes away nothing that was pushed meanwhile.
  return { ...base, progress: answer.progress ?? known.progress, steps }
}

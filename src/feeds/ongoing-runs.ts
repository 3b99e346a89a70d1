import { finalRunStates, runEvents, type OngoingRun, type RunStateData } from '../protocol/index.ts'

/** Fields of an event that tell of a run. */
interface ToldOf {
  readonly type: string
  /** JSON text. */
  readonly data: string
}

/** Open runs of a channel, as its events and pushes tell of them. Pure. */
export class OngoingRuns {
  readonly #runs = new Map<string, OngoingRun>()

  /** Open runs, in the order of their starts. */
  get all(): readonly OngoingRun[] {
    return [...this.#runs.values()]
  }

  restart(runs: readonly OngoingRun[]): void {
    this.#runs.clear()
    for (const run of runs) this.#runs.set(run.runId, run)
  }

  /** An event of the log was delivered. @returns whether something has changed */
  delivered({ type, data }: ToldOf): boolean {
    if (type !== runEvents.state) return false
    const { code: _, ...run } = JSON.parse(data) as RunStateData
    if (finalRunStates.has(run.state)) return this.#runs.delete(run.runId)
    const known = this.#runs.get(run.runId)
    this.#runs.set(run.runId, { ...run, waits: known?.waits ?? [], progress: known?.progress ?? null })
    return true
  }

  /** A push without an offset was shown. @returns whether something has changed */
  pushed({ type, data }: ToldOf): boolean {
    if (type !== runEvents.progress) return false
    const { runId, progress } = JSON.parse(data) as { readonly runId: string; readonly progress: unknown }
    const known = this.#runs.get(runId)
    if (known === undefined) return false
    this.#runs.set(runId, { ...known, progress })
    return true
  }
}

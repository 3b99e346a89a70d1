import type { Queryable } from '../core/index.ts'
import { phaseOf, type RunState } from '../protocol/index.ts'
import { readOngoing, type OngoingRow } from '../postgres/index.ts'
import type { OngoingSnapshot, OngoingSource } from './ongoing-source.ts'

export interface OngoingReaderOptions {
  readonly own: Queryable
  readonly schema: string
  readonly covers: (channel: string) => boolean
}

/** Runs of one channel that a subscriber is told of, the newest. */
const mostRuns = 500

/** Reads what is open on channels. Questions that come in one turn of the loop share one statement. */
export class OngoingReader implements OngoingSource {
  readonly covers: (channel: string) => boolean
  readonly #own: Queryable
  readonly #schema: string
  #asked: Set<string> | undefined
  #answer: Promise<ReadonlyMap<string, OngoingSnapshot>> | undefined

  constructor({ own, schema, covers }: OngoingReaderOptions) {
    this.#own = own
    this.#schema = schema
    this.covers = covers
  }

  async read(channel: string): Promise<OngoingSnapshot> {
    return (await this.#collect(channel)).get(channel) ?? { head: 0, drafts: [], runs: [] }
  }

  #collect(channel: string): Promise<ReadonlyMap<string, OngoingSnapshot>> {
    if (this.#asked !== undefined && this.#answer !== undefined) {
      this.#asked.add(channel)
      return this.#answer
    }
    const asked = new Set([channel])
    this.#asked = asked
    this.#answer = new Promise<void>((resolve) => setImmediate(resolve)).then(() => {
      // Ask again for later callers: the answer to this question may be older than theirs.
      this.#asked = undefined
      this.#answer = undefined
      return this.#ask([...asked])
    })
    return this.#answer
  }

  async #ask(channels: readonly string[]): Promise<ReadonlyMap<string, OngoingSnapshot>> {
    const { rows } = await this.#own.query<OngoingRow>(readOngoing(this.#schema, channels, mostRuns))
    return new Map(rows.map((row) => [row.channel, toSnapshot(row)]))
  }
}

function toSnapshot({ head, runs }: OngoingRow): OngoingSnapshot {
  const open = (runs ?? []).map((row) => {
    const { runId, task, attempt, startedBy, progress } = row
    const state = row.state as RunState
    return { runId, task, state, phase: phaseOf(state), attempt, startedBy, waits: [], progress }
  })
  return { head, drafts: [], runs: open }
}

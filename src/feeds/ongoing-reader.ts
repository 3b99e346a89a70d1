import type { Queryable } from '../core/index.ts'
import { phaseOf, type RunState } from '../protocol/index.ts'
import {
  readDrafts,
  readOngoing,
  type AskedDraftsRow,
  type OngoingRow,
  type StoredDraftRow,
} from '../postgres/index.ts'
import type { StoredDraft } from './ongoing-drafts.ts'
import type { OngoingSnapshot, OngoingSource, OpenDrafts } from './ongoing-source.ts'

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
  #askedDrafts: { readonly channel: string; readonly operation: string }[] = []
  #draftsAnswer: Promise<ReadonlyMap<string, OpenDrafts>> | undefined
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

  /** Questions that come in one turn of the loop share one statement. */
  async readDrafts(channel: string, operations: readonly string[]): Promise<OpenDrafts> {
    for (const operation of operations) this.#askedDrafts.push({ channel, operation })
    this.#draftsAnswer ??= new Promise<void>((resolve) => setImmediate(resolve)).then(() => {
      const asked = this.#askedDrafts
      this.#askedDrafts = []
      this.#draftsAnswer = undefined
      return this.#askDrafts(asked)
    })
    return (await this.#draftsAnswer).get(channel) ?? { head: 0, drafts: [], openOperations: [] }
  }

  async #askDrafts(
    asked: readonly { readonly channel: string; readonly operation: string }[],
  ): Promise<ReadonlyMap<string, OpenDrafts>> {
    const channels = asked.map(({ channel }) => channel)
    const operations = asked.map(({ operation }) => operation)
    const { rows } = await this.#own.query<AskedDraftsRow>(readDrafts(this.#schema, channels, operations))
    return new Map(
      rows.map(({ channel, head, drafts }) => {
        const openOperations = (drafts ?? []).map(({ operation }) => operation)
        return [channel, { head, drafts: toDrafts(drafts), openOperations }]
      }),
    )
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

function toSnapshot({ head, runs, drafts }: OngoingRow): OngoingSnapshot {
  const open = (runs ?? []).map((row) => {
    const { runId, task, attempt, startedBy, progress } = row
    const state = row.state as RunState
    return { runId, task, state, phase: phaseOf(state), attempt, startedBy, waits: [], progress }
  })
  return { head, drafts: toDrafts(drafts), runs: open }
}

function toDrafts(rows: readonly StoredDraftRow[] | null): readonly StoredDraft[] {
  return (rows ?? []).flatMap(({ operation, attempt, runId, names }) =>
    Object.entries(names ?? {}).map(([name, batches]) => {
      const chunks: unknown[] = []
      for (const { first, chunks: more } of batches) {
        if (first > chunks.length + 1) break
        for (const chunk of more.slice(chunks.length + 1 - first)) chunks.push(chunk)
      }
      return { operation, name, attempt, runId, chunks }
    }),
  )
}

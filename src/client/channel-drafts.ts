import { runEvents, type OpenDraft, type RunRef, type RunStateData } from '../protocol/index.ts'
import type { Joined } from './channel-event.ts'
import type { ChannelEvent } from './client-channel.ts'
import { DraftBoard, type DraftFacts, type DraftNews, type DraftPush } from './draft-board.ts'
import type { DraftView } from './draft-view.ts'
import { Listeners, type ErrorListener, type Off } from './listeners.ts'

/** Type of the push that brings chunks. */
export const draftPush = 'draft'

export interface ChannelDraftsOptions {
  readonly onError: ErrorListener
  /** Joins the channel again from where it stands. */
  readonly rejoin: () => void
  /** Hears of each change. */
  readonly onChange: (draft: DraftView) => void
}

/** Drafts of one channel, for its listeners. */
export class ChannelDrafts {
  readonly #board = new DraftBoard()
  readonly #options: ChannelDraftsOptions
  readonly #changes: Listeners<[DraftView]>
  readonly #tasks = new Map<string, string>()
  #isRejoining = false

  constructor(options: ChannelDraftsOptions) {
    this.#options = options
    this.#changes = new Listeners(options.onError)
  }

  /** Adds a listener, which hears of the drafts that are open, too. */
  on(name: string, listener: (draft: DraftView) => unknown): Off {
    let isOn = true
    // Returned, so that the failure of an async listener is reported.
    const off = this.#changes.add((draft) => (draft.name === name ? listener(draft) : undefined))
    const own = new Listeners<[DraftView]>(this.#options.onError)
    own.add(listener)
    queueMicrotask(() => {
      if (!isOn) return
      for (const facts of this.#board.open) if (facts.name === name) own.emit(this.#viewOf(facts))
    })
    return () => {
      isOn = false
      off()
    }
  }

  /** The open draft of a run. */
  of(runId: string, name: string): DraftView | undefined {
    const facts = this.#board.open.findLast((one) => one.runId === runId && one.name === name)
    return facts && this.#viewOf(facts)
  }

  /** @param offset position before the events that come with the join */
  joined({ recovered, data }: Joined, offset: number): void {
    this.#isRejoining = false
    const { drafts, runs } = Object(data) as { readonly drafts?: unknown; readonly runs?: unknown }
    if (Array.isArray(runs))
      for (const { runId, task } of runs as RunStateData[]) this.#tasks.set(runId, task)
    const isTold = Array.isArray(drafts)
    // A server that tells of none keeps what was recovered.
    if (!isTold && recovered) return
    this.#tell(this.#board.joined(isTold ? (drafts as OpenDraft[]) : [], offset))
    // The events that were recovered follow in the same turn.
    queueMicrotask(() => this.#tell(this.#board.caughtUp()))
  }

  push(data: unknown): void {
    const { draft, chunks } = Object(data) as Partial<DraftPush>
    if (typeof draft === 'object' && Array.isArray(chunks)) this.#tell(this.#board.push(data as DraftPush))
  }

  event(event: ChannelEvent): void {
    if (event.offset === undefined) return
    if (event.type === runEvents.state) {
      const { runId, task } = Object(event.data) as RunStateData
      this.#tasks.set(runId, task)
    }
    this.#tell(this.#board.event(event, event.offset))
  }

  #tell({ changed, isMissing }: DraftNews): void {
    for (const facts of changed) {
      const view = this.#viewOf(facts)
      this.#changes.emit(view)
      this.#options.onChange(view)
    }
    if (!isMissing || this.#isRejoining) return
    this.#isRejoining = true
    this.#options.rejoin()
  }

  #viewOf({ id, name, runId, text, chunks, state }: DraftFacts): DraftView {
    return { id, name, run: this.#refOf(runId), text, chunks, state }
  }

  #refOf(id: string | undefined): RunRef | undefined {
    const task = id === undefined ? undefined : this.#tasks.get(id)
    return id === undefined || task === undefined ? undefined : { id, task }
  }
}

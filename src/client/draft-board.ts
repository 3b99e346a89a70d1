import { runEvents, type EventEnvelope, type OpenDraft, type RunStateData } from '../protocol/index.ts'
import { RecentIds } from './recent-ids.ts'

/** Chunks of a draft, as they are pushed. */
export interface DraftPush {
  readonly draft: Pick<OpenDraft, 'operation' | 'name' | 'attempt' | 'from'> & {
    /** Offset of the channel behind which they belong. */
    readonly after: number
  }
  readonly runId?: string | null
  readonly chunks: readonly unknown[]
}

/** A draft as it is now: what its operation has shown so far, and whether it stands. */
export interface DraftFacts {
  /** The same for all news of one draft. */
  readonly id: string
  readonly name: string
  readonly operationId: string
  readonly runId: string | undefined
  readonly attempt: number
  readonly chunks: readonly unknown[]
  /** The chunks together, where they are texts. */
  readonly text: string | undefined
  readonly state: 'open' | 'committed' | 'retracted'
}

interface Draft {
  readonly facts: Omit<DraftFacts, 'chunks' | 'text' | 'state'>
  readonly chunks: unknown[]
  text: string | undefined
  /** Chunks that stand ahead of a hole, by the number of their first. */
  readonly ahead: Map<number, readonly unknown[]>
  /** Offset that the channel has to reach before the draft is shown. */
  readonly after: number
}

/** Result of what was taken: drafts that have changed, and whether the channel has to be joined again. */
export interface DraftNews {
  readonly changed: readonly DraftFacts[]
  /** A chunk is missing, which a join brings. */
  readonly isMissing: boolean
}

/**
 * Drafts of one channel, put together from pushes that may come twice, late, or with holes between them. Knows no socket: it
 * is told what arrives, in the order of its arrival, and answers what has changed on the screen.
 */
export class DraftBoard {
  readonly #drafts = new Map<string, Draft>()
  /** Operations that have ended: what still comes of their drafts is late. */
  readonly #ended = new RecentIds()
  /** The highest attempt of each run that was heard of. */
  readonly #attempts = new Map<string, number>()
  #offset = 0
  /** Drafts that were held when the channel was joined anew, and that the join did not bring. */
  #leftOver: readonly string[] = []
  #changed: DraftFacts[] = []

  /** Drafts that are shown now. */
  get open(): readonly DraftFacts[] {
    return [...this.#drafts.values()]
      .filter((draft) => this.#isShown(draft))
      .map((draft) => factsOf(draft, 'open'))
  }

  /**
   * The channel was joined: what is open replaces what was held.
   * @param offset position of the channel before the events that come with the join
   */
  joined(drafts: readonly OpenDraft[], offset: number): DraftNews {
    this.#offset = Math.max(this.#offset, offset)
    const held = new Map(this.#drafts)
    this.#drafts.clear()
    for (const { operation, name, attempt, runId, from, chunks } of drafts) {
      const id = idOf(operation, name)
      if (this.#isLate(operation, runId, attempt)) continue
      const draft = this.#add({ id, name, operationId: operation, runId: runId ?? undefined, attempt }, 0)
      // A list that does not begin with the first chunk goes on where the one that was held ends.
      const known = held.get(id)
      const before = known?.facts.attempt === attempt ? known.chunks.slice(0, from - 1) : []
      append(draft, [...before, ...chunks])
      held.delete(id)
      this.#show(draft)
    }
    // The rest has ended: by an event that comes with the join, or, where none does, by one that was missed.
    for (const [id, draft] of held) this.#drafts.set(id, draft)
    this.#leftOver = [...held.keys()]
    return this.#news()
  }

  /** The events that came with the join have been taken: whatever was held and is neither open nor ended by them is gone. */
  caughtUp(): DraftNews {
    for (const id of this.#leftOver) this.#end(id, 'retracted')
    this.#leftOver = []
    return this.#news()
  }

  /** Takes chunks. */
  push({ draft: { operation, name, attempt, from, after }, runId, chunks }: DraftPush): DraftNews {
    if (this.#isLate(operation, runId, attempt)) return this.#news()
    const id = idOf(operation, name)
    const held = this.#drafts.get(id)
    // An operation that is tried again shows its drafts anew.
    if (held !== undefined && held.facts.attempt > attempt) return this.#news()
    if (held !== undefined && held.facts.attempt < attempt) this.#end(id, 'retracted')
    const facts = { id, name, operationId: operation, runId: runId ?? undefined, attempt }
    const draft = this.#drafts.get(id) ?? this.#add(facts, after)
    const next = draft.chunks.length + 1
    if (from > next) {
      draft.ahead.set(from, chunks)
      return this.#news(true)
    }
    if (!append(draft, chunks.slice(next - from))) return this.#news()
    this.#close(draft)
    this.#show(draft)
    return this.#news()
  }

  /** Takes an event of the channel, by its place in the order. */
  event(
    { type, operationId, data }: Pick<EventEnvelope, 'type' | 'operationId' | 'data'>,
    offset: number,
  ): DraftNews {
    const before = this.#offset
    this.#offset = offset
    this.#ended.add(operationId)
    for (const [id, { facts }] of this.#drafts)
      if (facts.operationId === operationId) this.#end(id, endOf(facts.name, type, data))
    if (type === runEvents.state) {
      const { runId, attempt } = Object(data) as RunStateData
      this.#begins(runId, attempt)
    }
    // Chunks that came before the event behind which they belong.
    for (const draft of this.#drafts.values())
      if (draft.after > before && draft.after <= offset) this.#show(draft)
    return this.#news()
  }

  /** Whether the draft is over: its operation has ended, or another attempt has the run. */
  #isLate(operation: string, runId: string | null | undefined, attempt: number): boolean {
    if (this.#ended.has(operation)) return true
    if (runId === undefined || runId === null) return false
    this.#begins(runId, attempt)
    return attempt < (this.#attempts.get(runId) ?? 0)
  }

  /** A higher attempt takes the place of the lower ones. */
  #begins(runId: string, attempt: number): void {
    if (attempt <= (this.#attempts.get(runId) ?? 0)) return
    this.#attempts.delete(runId)
    this.#attempts.set(runId, attempt)
    const [oldest] = this.#attempts.keys()
    if (this.#attempts.size > rememberedRuns && oldest !== undefined) this.#attempts.delete(oldest)
    for (const [id, { facts }] of this.#drafts)
      if (facts.runId === runId && facts.attempt < attempt) this.#end(id, 'retracted')
  }

  #add(facts: Draft['facts'], after: number): Draft {
    const draft: Draft = { facts, chunks: [], text: '', ahead: new Map(), after }
    this.#drafts.set(facts.id, draft)
    return draft
  }

  /** Adds what stood ahead of a hole that is closed now. */
  #close(draft: Draft): void {
    for (const [from, chunks] of [...draft.ahead].toSorted(([a], [b]) => a - b)) {
      const next = draft.chunks.length + 1
      if (from > next) return
      draft.ahead.delete(from)
      append(draft, chunks.slice(next - from))
    }
  }

  #isShown({ after }: Draft): boolean {
    return after <= this.#offset
  }

  #show(draft: Draft): void {
    if (this.#isShown(draft)) this.#changed.push(factsOf(draft, 'open'))
  }

  #end(id: string, state: 'committed' | 'retracted'): void {
    const draft = this.#drafts.get(id)
    if (draft === undefined) return
    this.#drafts.delete(id)
    if (this.#isShown(draft)) this.#changed.push(factsOf(draft, state))
  }

  #news(isMissing = false): DraftNews {
    const changed = this.#changed
    this.#changed = []
    return { changed, isMissing }
  }
}

const rememberedRuns = 1_000

/** A retraction that names drafts leaves the others of its operation, which has committed. */
function endOf(name: string, type: string, data: unknown): 'committed' | 'retracted' {
  if (type !== 'draft.retracted') return 'committed'
  const { names } = Object(data) as { readonly names?: unknown }
  return Array.isArray(names) && !names.includes(name) ? 'committed' : 'retracted'
}

const idOf = (operation: string, name: string): string => `${operation} ${name}`

/** @returns whether there was something to add */
function append(draft: Draft, chunks: readonly unknown[]): boolean {
  for (const chunk of chunks) {
    draft.chunks.push(chunk)
    draft.text = typeof chunk === 'string' && draft.text !== undefined ? draft.text + chunk : undefined
  }
  return chunks.length > 0
}

function factsOf({ facts, chunks, text }: Draft, state: DraftFacts['state']): DraftFacts {
  return { ...facts, chunks: [...chunks], text, state }
}

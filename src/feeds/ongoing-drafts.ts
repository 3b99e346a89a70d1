import { mutationPoint } from '../protocol/mutation-point.ts'
import { draftEvents, type DraftPush, type DraftRetractedData, type OpenDraft } from '../protocol/index.ts'

/** A draft as the database has it. */
export type StoredDraft = Omit<OpenDraft, 'from'>

/** Fields of a delivered event, as far as they tell of drafts. */
interface Told {
  readonly type: string
  readonly data: string
  readonly operationId: string
}

interface Known {
  readonly operation: string
  readonly name: string
  readonly attempt: number
  readonly runId: string | null
  readonly chunks: unknown[]
  /** Pushes behind a hole. */
  ahead: readonly DraftPush[]
  heardAt: number
}

/** Time for which ended operations, and attempts at runs, are remembered, in milliseconds. */
const rememberedMs = 60_000
const mostRemembered = 10_000
const silentMs = 2_000
const mostWaiting = 1_000
const mostAhead = 200

/**
 * Open drafts of a channel, in one order with its events. Pure: who calls gives the time, shows the pushes that are answered, and asks
 * the database for operations of which something is missing.
 */
export class OngoingDrafts {
  readonly #drafts = new Map<string, Known>()
  /** Pushes that follow events which have not been shown yet. */
  #waiting: DraftPush[] = []
  /** Operations that have ended, with the time until which that is remembered. */
  readonly #ended = new Map<string, number>()
  /** Highest attempt by run, or by operation where there is no run. */
  readonly #attempts = new Map<string, number>()
  readonly #missing = new Set<string>()

  get all(): readonly OpenDraft[] {
    return [...this.#drafts.values()].map(({ operation, name, attempt, runId, chunks }) => ({
      operation,
      name,
      attempt,
      runId,
      from: 1,
      chunks,
    }))
  }

  restart(drafts: readonly StoredDraft[], now: number): void {
    this.#drafts.clear()
    this.#waiting = []
    this.#missing.clear()
    for (const draft of drafts) this.#take(draft, now)
  }

  /** An event was shown. @returns whether it has ended a draft */
  delivered({ type, data, operationId }: Told, now: number): boolean {
    const names =
      type === draftEvents.retracted ? (JSON.parse(data) as DraftRetractedData | null)?.names : undefined
    if (names !== undefined)
      return names.filter((name) => this.#drafts.delete(keyOf(operationId, name))).length > 0
    return this.end(operationId, now)
  }

  /** Ends what an operation shows. @returns whether it showed anything */
  end(operation: string, now: number): boolean {
    this.#ended.delete(operation)
    this.#ended.set(operation, now + rememberedMs)
    for (const [oldest, until] of this.#ended) {
      if (until > now && this.#ended.size <= mostRemembered) break
      this.#ended.delete(oldest)
    }
    this.#missing.delete(operation)
    this.#waiting = this.#waiting.filter(({ draft }) => draft.operation !== operation)
    return this.#removeWhere((known) => known.operation === operation)
  }

  /** Takes the pushes that had waited for the position. @returns what is to be shown */
  moved(position: number, now: number): readonly DraftPush[] {
    if (this.#waiting.length === 0) return []
    const ready = this.#waiting.filter(({ draft }) => draft.after <= position)
    if (ready.length === 0) return []
    this.#waiting = this.#waiting.filter(({ draft }) => draft.after > position)
    return ready.flatMap((push) => this.#show(push, now))
  }

  /** A push has come. @returns what is to be shown now */
  heard(push: DraftPush, position: number, now: number): readonly DraftPush[] {
    if (this.#isEnded(push.draft.operation, now)) return []
    if (push.draft.after <= position) return this.#show(push, now)
    // Read from the database what would wait in too great a number.
    if (this.#waiting.length < mostWaiting) this.#waiting.push(push)
    else this.#missing.add(push.draft.operation)
    return []
  }

  /** Operations of which chunks are missing, and those that have been silent. The database is asked how they stand. */
  asked(now: number): readonly string[] {
    const silent = [...this.#drafts.values()].filter(({ heardAt }) => now - heardAt >= silentMs)
    return [...new Set([...this.#missing, ...silent.map(({ operation }) => operation)])]
  }

  get hasMissing(): boolean {
    return this.#missing.size > 0
  }

  /**
   * The database has answered.
   * @param openOperations operations that are open, also those of which no chunk is stored yet
   * @param reached whether the feed has come as far as the snapshot: then what is not open there has ended without an event
   * @returns pushes to show, and operations whose end is to be shown
   */
  answered(
    asked: readonly string[],
    open: readonly StoredDraft[],
    {
      openOperations,
      reached,
      now,
    }: { readonly openOperations: readonly string[]; readonly reached: boolean; readonly now: number },
  ): { readonly shown: readonly DraftPush[]; readonly ended: readonly string[] } {
    const shown: DraftPush[] = []
    for (const draft of open) {
      if (this.#isEnded(draft.operation, now)) continue
      for (const push of this.#show(toPush(draft), now)) shown.push(push)
      for (const known of this.#drafts.values()) if (known.operation === draft.operation) known.heardAt = now
    }
    for (const { operation } of open) if (!this.#hasHole(operation)) this.#missing.delete(operation)
    if (!reached) return { shown, ended: [] }
    const isOpen = new Set(openOperations)
    const gone = asked.filter((operation) => !isOpen.has(operation) && !this.#isEnded(operation, now))
    return { shown, ended: gone.filter((operation) => this.end(operation, now)) }
  }

  #hasHole(operation: string): boolean {
    return [...this.#drafts.values()].some((known) => known.operation === operation && known.ahead.length > 0)
  }

  #isEnded(operation: string, now: number): boolean {
    return (this.#ended.get(operation) ?? -Infinity) > now
  }

  #show(push: DraftPush, now: number): readonly DraftPush[] {
    const { operation, name, attempt, from } = push.draft
    const who = push.runId ?? operation
    const highest = this.#attempts.get(who) ?? 0
    if (attempt < highest && !mutationPoint('older attempt shown')) return []
    if (attempt > highest) this.#raise(who, attempt)
    const known = this.#drafts.get(keyOf(operation, name))
    const have = known?.chunks.length ?? 0
    if (from > have + 1) {
      this.#missing.add(operation)
      if (known !== undefined && known.ahead.length < mostAhead) known.ahead = [...known.ahead, push]
      return []
    }
    const chunks = push.chunks.slice(have + 1 - from)
    const draft = known ?? this.#take({ ...push.draft, runId: push.runId, chunks: [] }, now)
    draft.heardAt = now
    if (chunks.length === 0) return []
    for (const chunk of chunks) draft.chunks.push(chunk)
    const { ahead } = draft
    draft.ahead = []
    return [
      { ...push, draft: { ...push.draft, from: have + 1 }, chunks },
      ...ahead.flatMap((next) => this.#show(next, now)),
    ]
  }

  /** A higher attempt takes the place of what lower ones have shown. */
  #raise(who: string, attempt: number): void {
    this.#attempts.delete(who)
    this.#attempts.set(who, attempt)
    const [oldest] = this.#attempts.keys()
    if (this.#attempts.size > mostRemembered && oldest !== undefined) this.#attempts.delete(oldest)
    this.#removeWhere((known) => (known.runId ?? known.operation) === who && known.attempt < attempt)
  }

  #take(draft: StoredDraft, now: number): Known {
    const { operation, name, attempt, runId, chunks } = draft
    const known = { operation, name, attempt, runId, chunks: [...chunks], ahead: [], heardAt: now }
    this.#drafts.set(keyOf(operation, name), known)
    const who = runId ?? operation
    if (attempt > (this.#attempts.get(who) ?? 0)) this.#raise(who, attempt)
    return known
  }

  #removeWhere(isGone: (known: Known) => boolean): boolean {
    let hasAny = false
    for (const [key, known] of this.#drafts) {
      if (!isGone(known)) continue
      this.#drafts.delete(key)
      hasAny = true
    }
    return hasAny
  }
}

function keyOf(operation: string, name: string): string {
  return `${operation} ${name}`
}

function toPush({ operation, name, attempt, runId, chunks }: StoredDraft): DraftPush {
  return { type: draftEvents.push, draft: { operation, name, attempt, from: 1, after: 0 }, runId, chunks }
}

import { limits } from '../protocol/index.ts'
import { LockstepError, type Channel } from '../core/index.ts'
import type { ChunkBatch, DraftEntry } from '../postgres/index.ts'

/** Named draft of an operation: its chunks, and how far they have been shown and kept. */
export class ShownDraft {
  readonly name: string
  readonly values: unknown[] = []
  readonly #json: string[] = []
  #bytes = 0
  #shown = 0
  /** Number of chunks in each batch, cut once: written again, a batch is the same row. */
  readonly #batches: number[] = []
  #batched = 0
  #saved = 0

  constructor(name: string) {
    this.name = name
  }

  get text(): string {
    return this.values.join('')
  }

  get hasUnshown(): boolean {
    return this.#shown < this.#json.length
  }

  get hasUnsaved(): boolean {
    return this.#saved < this.#batches.length || this.#batched < this.#json.length
  }

  /** @throws LS_DRAFT_TOO_LARGE, LS_DRAFT_INVALID for what JSON cannot hold */
  add(value: unknown): void {
    const json = JSON.stringify(value) as string | undefined
    if (json === undefined) throw new LockstepError('LS_DRAFT_INVALID')
    const bytes = this.#bytes + Buffer.byteLength(json) + 1
    if (bytes > limits.maxDraftBytes) {
      throw new LockstepError('LS_DRAFT_TOO_LARGE', {
        message: `Draft "${this.name}" has ${bytes} bytes with this chunk, at most ${limits.maxDraftBytes} are allowed. Commit what is there, and begin another step.`,
      })
    }
    this.#bytes = bytes
    this.#json.push(json)
    this.values.push(value)
  }

  /** Takes what has not been shown yet, up to about so many bytes. */
  takeUnshown(maxBytes: number): { readonly from: number; readonly chunks: readonly string[] } {
    const from = this.#shown + 1
    let bytes = 0
    for (; this.#shown < this.#json.length; this.#shown++) {
      bytes += Buffer.byteLength(this.#json[this.#shown] ?? '')
      if (bytes > maxBytes && this.#shown >= from) break
    }
    return { from, chunks: this.#json.slice(from - 1, this.#shown) }
  }

  /** Batches that have to be written; they count as kept from here on. */
  takeUnsaved(): readonly { readonly first: number; readonly chunks: string }[] {
    if (this.#batched < this.#json.length) {
      this.#batches.push(this.#json.length - this.#batched)
      this.#batched = this.#json.length
    }
    let first = 1
    const taken = this.#batches.flatMap((count, index) => {
      const from = first
      first += count
      if (index < this.#saved) return []
      return [{ first: from, chunks: `[${this.#json.slice(from - 1, from - 1 + count).join(',')}]` }]
    })
    this.#saved = this.#batches.length
    return taken
  }

  /** Chunks that were written may be lost: all of them are written again. */
  saveAgain(): void {
    this.#saved = 0
  }
}

/** Drafts of one operation on one channel. The row of it stands in the database before anything is shown. */
export class DraftPlace {
  readonly entry: DraftEntry
  readonly channel: Channel
  /** `waiting`: its row was not answered yet. `refused`: nothing may be shown. */
  state: 'waiting' | 'open' | 'refused' | 'closed' = 'waiting'
  /** Reason why nothing may be shown. */
  refusal: LockstepError | undefined
  /** Head of the channel when it was opened. */
  after = 0
  readonly drafts = new Map<string, ShownDraft>()

  constructor(entry: DraftEntry, channel: Channel) {
    this.entry = entry
    this.channel = channel
  }

  draft(name: string): ShownDraft {
    const known = this.drafts.get(name) ?? new ShownDraft(name)
    this.drafts.set(name, known)
    return known
  }

  /** Batches of all drafts that have to be written. */
  takeUnsaved(): readonly ChunkBatch[] {
    const { operation, channel, attempt } = this.entry
    return [...this.drafts.values()].flatMap((draft) =>
      draft.takeUnsaved().map((batch) => ({ operation, channel, name: draft.name, attempt, ...batch })),
    )
  }
}

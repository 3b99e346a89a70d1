import { validateChunk, type DraftHandle } from '../core/index.ts'
import type { DraftWriter } from './draft-writer.ts'
import type { DraftPlace } from './shown-draft.ts'

/** Handle by which the application appends to a draft. */
export class WritableDraft implements DraftHandle<unknown> {
  readonly #writer: DraftWriter
  readonly #place: () => DraftPlace
  readonly #name: string

  /** @param place asked at each use: the same draft may be shown by the next operation */
  constructor(writer: DraftWriter, place: () => DraftPlace, name: string) {
    this.#writer = writer
    this.#place = place
    this.#name = name
  }

  append(chunk: unknown): void {
    const place = this.#place()
    this.#writer.append(place, this.#name, validateChunk(place.channel, this.#name, chunk))
  }

  get text(): never {
    // The type of `text` is that of chunks that are text.
    return this.#place().draft(this.#name).text as never
  }

  get chunks(): readonly unknown[] {
    return this.#place().draft(this.#name).values
  }
}

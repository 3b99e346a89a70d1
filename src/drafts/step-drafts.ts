import { assertDraftName, type Channel, type DraftHandle } from '../core/index.ts'
import type { DraftEntry } from '../postgres/index.ts'
import { WritableDraft } from './draft-handle.ts'
import type { DraftWriter } from './draft-writer.ts'
import type { DraftPlace } from './shown-draft.ts'

export interface StepDraftsOptions {
  readonly writer: DraftWriter
  /** Channel of the run. @throws LS_DRAFT_NOWHERE where its task names none */
  readonly channel: (name: string) => Channel
  readonly run: { readonly id: string; readonly step: string }
  readonly attempt: number
}

/** Drafts that the work of a step shows, by the operation that is going to commit it. */
export class StepDrafts {
  readonly #options: StepDraftsOptions
  #operation: DraftEntry['operation']
  #place: DraftPlace | undefined

  constructor(options: StepDraftsOptions, operation: DraftEntry['operation']) {
    this.#options = options
    this.#operation = operation
  }

  get operation(): DraftEntry['operation'] {
    return this.#operation
  }

  get places(): readonly DraftPlace[] {
    return this.#place === undefined ? [] : [this.#place]
  }

  /** Text of the one draft; undefined where there are more or none, or chunks that are no text. */
  get onlyText(): string | undefined {
    const drafts = [...(this.#place?.drafts.values() ?? [])]
    const [only] = drafts
    if (only === undefined || drafts.length > 1) return undefined
    return only.values.every((value) => typeof value === 'string') ? only.text : undefined
  }

  /** @throws LS_DRAFT_NOWHERE, LS_DRAFT_UNKNOWN */
  draft(name: string): DraftHandle<unknown> {
    const channel = this.#options.channel(name)
    assertDraftName(channel, name)
    const place = (this.#place ??= this.#open(channel))
    place.draft(name)
    return new WritableDraft(this.#options.writer, () => this.#place ?? place, name)
  }

  /** The operation was rolled back for no fault of the step: another one shows the same. */
  showAs(operation: DraftEntry['operation']): void {
    this.#operation = operation
    const before = this.#place
    if (before === undefined) return
    this.#options.writer.close(before)
    const place = this.#open(before.channel)
    this.#place = place
    for (const { name, values } of before.drafts.values())
      for (const value of values) this.#options.writer.append(place, name, value)
  }

  /** Shows nothing more. */
  close(): void {
    if (this.#place !== undefined) this.#options.writer.close(this.#place)
  }

  #open(channel: Channel): DraftPlace {
    const { writer, run, attempt } = this.#options
    return writer.open({ operation: this.#operation, channel: channel.name, run, attempt }, channel)
  }
}

import type { RunRef } from '../protocol/index.ts'

/** A draft as the page sees it: shown before its operation has committed, and over with it. */
export interface DraftView<Chunk = unknown> {
  /** The same for all news of one draft. */
  readonly id: string
  readonly name: string
  /** The run whose step shows it; undefined for that of an operation. */
  readonly run: RunRef | undefined
  /** All chunks as one text, where they are texts. */
  readonly text: unknown extends Chunk ? string | undefined : Chunk extends string ? string : undefined
  readonly chunks: readonly Chunk[]
  /**
   * - `open`: more may come.
   * - `committed`: what it showed has been saved, and is in the events of the channel.
   * - `retracted`: take it off the screen. Another attempt may show it anew.
   */
  readonly state: 'open' | 'committed' | 'retracted'
}

/** Types of Lockstep's own events and pushes about drafts. */
export const draftEvents = {
  /** A push without an offset: more chunks. */
  push: 'draft',
  /** Ends the drafts of an operation that has committed, and has no other event on the channel. */
  committed: 'draft.committed',
  /** Takes back what an operation has shown. */
  retracted: 'draft.retracted',
} as const

/** Chunks of a draft, as a push without an offset. */
export interface DraftPush {
  readonly type: typeof draftEvents.push
  readonly draft: {
    readonly operation: string
    readonly name: string
    readonly attempt: number
    /** Number of the first chunk, from 1 for each operation and name. */
    readonly from: number
    /** Offset on the channel that has to be shown before. */
    readonly after: number
  }
  readonly runId: string | null
  readonly chunks: readonly unknown[]
}

/** Data of `draft.retracted`. */
export interface DraftRetractedData {
  /** Drafts that are taken back; absent: all of the operation on the channel. */
  readonly names?: readonly string[]
}

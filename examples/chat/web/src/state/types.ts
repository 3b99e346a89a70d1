import type { Conversation, Evidence, Message, Uncoordinated } from '../../../server/shapes.ts'

export type { Conversation, Evidence, Message }

/** A message as this page knows it. `operationId` is known when it arrived as an event. */
export interface ShownMessage extends Message {
  readonly operationId?: string
  /** Place of the message in the log of its channel. */
  readonly offset?: number
  /** True when the message came with an offset, from a read of the database, or by the reply to its commit. */
  readonly isCommitted: boolean
  /** How it was sent where it did not come by its commit. */
  readonly uncoordinated?: Uncoordinated
}

/** State of the user's own message that is not (yet) committed. */
export type OutboxState =
  | { readonly kind: 'sending' }
  /**
   * The message is on the screen, and so counts as sent, as in a page without Lockstep: no call asks for its outcome.
   */
  | { readonly kind: 'believed' }
  | { readonly kind: 'rolled_back'; readonly text: string; readonly detail?: string }
  /** The server would not run it; there was nothing to roll back. */
  | { readonly kind: 'refused'; readonly text: string }
  | { readonly kind: 'never_received' }

/** The user's own message from the moment of sending until its commit is seen, or until the user discards it. */
export interface OutboxEntry {
  /** The operation's id. */
  readonly id: string
  readonly conversationId: string
  readonly body: string
  /** Milliseconds since the epoch, by this browser's clock. */
  readonly sentAt: number
  /** Place between the committed messages, in the form of their `createdAt`. */
  readonly sortAt: string
  readonly state: OutboxState
  /** True when the message is on everybody's screen, although no commit of it is known. */
  readonly isShown?: true
}

/** An answer of the assistant that is being written. */
export interface RunningAnswer {
  readonly runId: string
  readonly startedBy: string
  readonly phase: 'queued' | 'active'
  /** Text so far, which is not saved yet. */
  readonly text: string
  /** True from the press of Stop until its end. */
  readonly isStopping: boolean
}

export interface Thread {
  readonly status: 'loading' | 'ready' | 'failed'
  /** Sorted by `createdAt`, then `id`. */
  readonly messages: readonly ShownMessage[]
  /** The database has older ones. */
  readonly hasEarlier: boolean
}

export type ConnectionState = 'connecting' | 'connected' | 'disconnected'

export type TimelineEntry = TimelineOperation | TimelineRemark

export interface TimelineOperation {
  readonly kind: 'operation'
  readonly id: string
  readonly name: string
  readonly summary: string
  /** Milliseconds since the epoch. */
  readonly at: number
  readonly state: 'open' | 'committed' | 'rolled_back' | 'never_received' | 'refused'
  readonly offset?: number
  /** Milliseconds from the call to its outcome. */
  readonly settledMs?: number
  /** Milliseconds from the call to the arrival of its event on this page. */
  readonly seenMs?: number
  readonly text?: string
  readonly uncoordinated?: Uncoordinated
  /** Measurements of the server. */
  readonly evidence?: Evidence
}

export interface TimelineRemark {
  readonly kind: 'remark'
  readonly id: string
  readonly at: number
  readonly tone: 'good' | 'bad' | 'plain'
  readonly text: string
}

/** A short word to the user that belongs to no message on the screen. */
export interface Toast {
  readonly id: string
  readonly text: string
}

export interface ChatState {
  readonly connection: ConnectionState
  /** False until the first connection, so that the first paint does not speak of reconnecting. */
  readonly wasConnected: boolean
  readonly conversations: {
    readonly status: 'loading' | 'ready' | 'failed'
    readonly list: readonly Conversation[]
  }
  readonly threads: Readonly<Record<string, Thread>>
  /** Answers that are being written, by conversation. */
  readonly answers: Readonly<Record<string, readonly RunningAnswer[]>>
  readonly outbox: readonly OutboxEntry[]
  /** Newest message that the user has seen, as its `createdAt`, by conversation. */
  readonly read: Readonly<Record<string, string>>
  readonly timeline: readonly TimelineEntry[]
  readonly toasts: readonly Toast[]
  /** Next announcement for screen readers. */
  readonly announcement: string
}

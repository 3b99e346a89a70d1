import type { Clock, Logger } from '../core/index.ts'
import type { BatchInterval } from './batch-schedule.ts'

/** A message and the subject that it goes to. */
export interface OutgoingMessage {
  readonly subject: string
  readonly text: string
}

/** The bus as a transport sees it: hears what comes in, and how the connection is. */
export interface TransportPort {
  readonly clock: Clock
  readonly logger: Logger
  hear(text: string): void
  /** Connected, with all subscriptions in force. Also called after each reconnect. */
  up(): void
  down(problem: string): void
}

/** The part of a bus that differs between brokers: sends text to subjects. */
export interface Transport {
  readonly kind: string
  /** Larger messages are not given to `send`. Bytes of UTF-8. */
  readonly maxMessageBytes: number
  /** How often batches leave. Absent: what came in one turn of the loop is a batch, and leaves at its end. */
  readonly batchInterval?: BatchInterval
  /** Words for the log: what may be wrong when this node does not hear its own messages. */
  readonly deafnessHint: string
  /** Set where the transport is a connection to the database itself: another history may be on another server. */
  readonly isOnDatabase?: true
  /** @param scope hexadecimal digits @param part the number of a shard, or the id of a node */
  subjectOf(scope: string, part: string): string
  /** Begins to connect, and goes on trying. Resolves after the first attempt, whatever came of it. */
  open(port: TransportPort): Promise<void>
  /** Called for one batch at a time. May reject. */
  send(messages: readonly OutgoingMessage[]): Promise<void>
  /**
   * Subscribes; the subscription is in force when this resolves, or else before the next `up`, and again before `up`
   * after each reconnect.
   */
  subscribe(subject: string): Promise<void>
  unsubscribe(subject: string): Promise<void>
  /**
   * Connected, it seems, and yet deaf; or still connecting, for too long: a connection of the transport's own is made
   * anew.
   */
  reconnect(problem: string): void
  close(): Promise<void>
}

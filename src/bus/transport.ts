import type { Clock, Logger } from '../core/index.ts'
import type { Pace } from './pacer.ts'

/** One message and where it goes. */
export interface OutgoingMessage {
  readonly subject: string
  readonly text: string
}

/** What a transport tells of itself. */
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
  readonly pace?: Pace
  /** What may be wrong when this node does not hear what it sends to itself. */
  readonly deafnessHint: string
  /** It is a connection to the database itself, which another history has another server for. */
  readonly isOnDatabase?: true
  /** @param scope hexadecimal digits @param part the number of a shard, or the id of a node */
  subjectOf(scope: string, part: string): string
  /** Begins to connect, and goes on trying. Resolves after the first attempt, whatever came of it. */
  open(port: TransportPort): Promise<void>
  /** Called for one batch at a time. May reject. */
  send(messages: readonly OutgoingMessage[]): Promise<void>
  /** In force when it resolves, or else before the next `up`; and again before `up` after each reconnect. */
  subscribe(subject: string): Promise<void>
  unsubscribe(subject: string): Promise<void>
  /**
   * Connected, it seems, and yet deaf; or still connecting, for too long: a connection of the transport's own is made
   * anew.
   */
  reconnect(problem: string): void
  close(): Promise<void>
}

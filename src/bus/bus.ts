import type { Clock, Logger } from '../core/index.ts'
import type { StoredEvent, TransientEvent } from '../events/index.ts'

/** How far a channel has come, without the events themselves. */
export interface ChannelHead {
  readonly channel: string
  readonly head: number
}

/** What a node gives its bus when it starts. */
export interface BusPort {
  /** Names the history that the events belong to. Nodes of another database on the same broker are not heard. */
  readonly scope: string
  readonly clock: Clock
  readonly logger: Logger
  /** What other nodes committed: perhaps twice, perhaps out of order, never all of it for certain. */
  events(events: readonly StoredEvent[]): void
  /** What is in no log: shown to those who listen now, or lost. */
  transients(events: readonly TransientEvent[]): void
  /** Channels that moved, where the events did not fit into a message. */
  heads(heads: readonly ChannelHead[]): void
  /** Something may have gone unheard: compare what is served with the database. */
  missed(): void
}

/** `off`: there is none. `up`: what this node sends to itself comes back. `down`: events of other nodes come by the comparison of heads. */
export interface BusHealth {
  readonly kind: string
  readonly state: 'off' | 'starting' | 'up' | 'down' | 'closed'
  /** Why it is down, for an operator. */
  readonly problem?: string
}

/**
 * Carries fresh events between the nodes of one database. A hint, never the truth: whatever it loses, repeats or
 * reorders is put right from the log. One instance serves one node.
 */
export interface Bus {
  /** Resolves when it is up, or when it is clear that it is not; it goes on trying then. Never rejects. */
  start(port: BusPort): Promise<void>
  /** Events that this node has committed. Returns at once and never throws; while the bus is down they are dropped. */
  publish(events: readonly StoredEvent[]): void
  /** What is in no log. As `publish`, and what does not fit into a message is dropped, too. */
  publishTransient(event: TransientEvent): void
  /** Somebody here listens to the channel. */
  serve(channel: string): void
  /** Nobody here listens to the channel any more. */
  unserve(channel: string): void
  /** The events are of another history from now on: those of the one before are neither sent nor brought any more. */
  follow(scope: string): void
  readonly health: BusHealth
  /** Ends what the bus opened itself; clients that were given to it stay open. Never rejects. */
  close(): Promise<void>
}

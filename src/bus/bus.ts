import type { Clock, Logger } from '../core/index.ts'
import type { StoredEvent } from '../log/index.ts'
import type { TransientEvent } from '../feeds/index.ts'

/** How far a channel has come, without the events themselves. */
export interface ChannelHead {
  readonly channel: string
  readonly head: number
}

/** The node's side of its bus, given to `start`. */
export interface BusPort {
  /** Names the history that the events belong to. Nodes of another database on the same broker are not heard. */
  readonly scope: string
  readonly clock: Clock
  readonly logger: Logger
  /** Committed events of other nodes: perhaps twice, perhaps out of order, never all of them for certain. */
  events(events: readonly StoredEvent[]): void
  /** Events that are in no log: shown to those who listen now, or lost. */
  transients(events: readonly TransientEvent[]): void
  /** Channels that moved, where the events did not fit into a message. */
  heads(heads: readonly ChannelHead[]): void
  /** Messages may have gone unheard: compare the channels served here with the database. */
  missed(): void
}

/** `off`: there is none. `up`: what this node sends to itself comes back. `down`: events of other nodes come by the comparison of heads. */
export interface BusHealth {
  readonly kind: string
  readonly state: 'off' | 'starting' | 'up' | 'down' | 'closed'
  /** Reason for the outage, for an operator. */
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
  /** Publishes an event that is in no log. As `publish`; an event that does not fit into a message is dropped, too. */
  publishTransient(event: TransientEvent): void
  /** Subscribes this node to the channel: it has its first listener here. */
  serve(channel: string): void
  /** Unsubscribes this node from the channel: its last listener here has left. */
  unserve(channel: string): void
  /** The events are of another history from now on: those of the one before are neither sent nor brought any more. */
  follow(scope: string): void
  readonly health: BusHealth
  /** Ends what the bus opened itself; clients that were given to it stay open. Never rejects. */
  close(): Promise<void>
}

/** The JSON shapes of the Centrifuge client protocol, as far as Lockstep reads or writes them. */

/** Position of a stream: the number of its last event, and the history that number belongs to. */
export interface StreamPosition {
  readonly offset: number
  readonly epoch: string
}

export interface ConnectRequest {
  readonly token?: string
  readonly data?: unknown
  readonly name?: string
  readonly version?: string
  readonly subs?: Readonly<Record<string, RecoveryRequest>>
}

/** A client's place in the stream it already has. */
export interface RecoveryRequest {
  readonly recover?: boolean
  readonly offset?: number
  readonly epoch?: string
}

export interface SubscribeRequest extends RecoveryRequest {
  readonly channel: string
  readonly positioned?: boolean
  readonly recoverable?: boolean
  /** Bit 2 set: answer error 112 rather than a subscription that could not be recovered. */
  readonly flag?: number
}

export interface SubscribeResult {
  readonly recoverable?: true
  readonly positioned?: true
  readonly epoch?: string
  readonly offset?: number
  readonly was_recovering?: true
  readonly recovered?: true
  readonly publications?: readonly Publication[]
  /** An `Ongoing`. Present where the channel may have runs or drafts. */
  readonly data?: unknown
}

export interface ConnectResult {
  readonly client: string
  readonly version: string
  readonly ping: number
  readonly pong: true
  readonly expires?: true
  /** Seconds until the token expires. */
  readonly ttl?: number
  readonly subs: Readonly<Record<string, SubscribeResult>>
}

/** Shape of an event inside a publication. */
export interface EventEnvelope<Data = unknown> {
  readonly type: string
  readonly data: Data
  readonly operationId: string
  /** ISO 8601 with milliseconds, UTC: when the flush of its transaction ran, by the database's clock. */
  readonly at: string
  /** Absent on committed events. Events that were sent before their commit, or without one, have no offset. */
  readonly committed?: false
}

export interface Publication<Data = unknown> {
  readonly data: Data
  readonly offset?: number
  /** Tags of live pushes only; see `acknowledgeTag`. */
  readonly tags?: Readonly<Record<string, string>>
}

export interface ErrorReply {
  readonly code: number
  readonly message: string
  readonly temporary?: true
}

/** A command of a client: exactly one of the named fields is set. */
export interface Command {
  readonly id?: number
  readonly connect?: ConnectRequest
  readonly subscribe?: SubscribeRequest
  readonly unsubscribe?: { readonly channel: string }
  readonly publish?: { readonly channel: string; readonly data: unknown }
  readonly presence?: unknown
  readonly presence_stats?: unknown
  readonly history?: unknown
  readonly ping?: unknown
  readonly send?: unknown
  readonly rpc?: { readonly method: string; readonly data?: unknown }
  readonly refresh?: { readonly token: string }
  readonly sub_refresh?: unknown
}

export const commandNames = [
  'connect',
  'subscribe',
  'unsubscribe',
  'publish',
  'presence',
  'presence_stats',
  'history',
  'ping',
  'send',
  'rpc',
  'refresh',
  'sub_refresh',
] as const

export type CommandName = (typeof commandNames)[number]

import type { LockstepClientError } from './errors.ts'
import type { Off } from './listeners.ts'

export type ConnectionState = 'connecting' | 'connected' | 'disconnected'

export interface DisconnectReason {
  /** A WebSocket close code of the server (3000 to 4999, see `closeCodes`), or below 100 one of the client. */
  readonly code: number
  readonly reason: string
}

/** The one WebSocket that everything of a client goes over. It reconnects by itself. */
export interface Connection {
  readonly state: ConnectionState
  /** Reason why the last connection ended; undefined while connected. Final once `state` is `disconnected`. */
  readonly disconnectReason: DisconnectReason | undefined
  /** Reason why there is no connection, in words that say what to check; undefined while there is one. */
  readonly error: LockstepClientError | undefined
  on(event: 'change', listener: (state: ConnectionState) => void): Off
  /** Called once for each problem, not for each attempt: LS_CLIENT_UNREACHABLE, or LS_CLIENT_REFUSED when none follows. */
  on(event: 'error', listener: (error: LockstepClientError) => void): Off
  /** Connects, also after the server refused for good. Does nothing while connected, and once the client is closed. */
  connect(): void
  /** Ends the connection until `connect` is called. Calls made meanwhile are queued. */
  disconnect(): void
}

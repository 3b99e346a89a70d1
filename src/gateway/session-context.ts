import type { Acknowledgements } from './acknowledgements.ts'
import type { Connections } from './connections.ts'
import type { GatewaySettings } from './options.ts'
import type { FailedChecks } from './failed-checks.ts'
import type { Flusher } from './outbound.ts'
import type { GatewayPorts } from './ports.ts'
import type { Refusals } from './refusals.ts'
import type { Session } from './session.ts'
import type { SocketTap } from './socket-tap.ts'

/** What all sessions of a gateway share. */
export interface SessionContext {
  readonly ports: GatewayPorts
  readonly settings: GatewaySettings
  readonly connections: Connections<Session>
  readonly flusher: Flusher
  readonly refusals: Refusals
  readonly failedChecks: FailedChecks
  /** Absent where nobody measures. */
  readonly tap: SocketTap | undefined
  /** Absent where nobody measures. */
  readonly acknowledgements: Acknowledgements | undefined
}

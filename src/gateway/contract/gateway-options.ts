import { LockstepError, systemClock, type Clock } from '../../core/index.ts'
import { limits as wire } from '../../protocol/index.ts'
import { parseOrigins } from './origin.ts'
import type { GatewayPorts } from './ports.ts'

/** Bounds of one gateway. Every one of them ends in a documented reply or close code. */
export interface GatewayLimits {
  /** Largest command, in bytes. Beyond it error 106; a WebSocket message of four times as much is closed with 1009. */
  readonly maxMessageBytes: number
  /** Largest `connect` command, in bytes. Beyond it 4500. */
  readonly maxConnectBytes: number
  /** Commands in one WebSocket message. Those beyond it are answered with error 111. */
  readonly maxCommandsPerMessage: number
  /** Subscriptions of one connection, the user's own channel included. Beyond it error 106. */
  readonly maxChannelsPerConnection: number
  /** RPCs of one connection that are not answered yet. Beyond it error 111. */
  readonly maxOutstandingCalls: number
  /** Subscribes and unsubscribes of one connection that are not answered yet. Beyond it error 111. */
  readonly maxPendingCommands: number
  /** Sustained commands a second of one user; five times as many in a burst. Beyond it their sockets are read more slowly. */
  readonly maxCommandsPerSecond: number
  /** Bytes that may wait for one connection that does not read. Beyond it 3008. Replies of a recovery wait from a quarter on. */
  readonly maxQueuedBytes: number
  /** Open connections of this gateway. Beyond it the upgrade is answered with HTTP 503. */
  readonly maxConnections: number
  /** New connections a second in all; twice as many in a burst. Beyond it HTTP 503. */
  readonly maxConnectsPerSecond: number
  /** Open connections of one address. Beyond it HTTP 429. */
  readonly maxConnectionsPerAddress: number
  /** New connections of one address in one second. Beyond it HTTP 429. */
  readonly maxConnectsPerAddressPerSecond: number
  /** Open connections of one user. Beyond it 4000. */
  readonly maxConnectionsPerUser: number
  /** Time to send a valid `connect`, beyond it 4001, and for this node to answer it, beyond it 3004. */
  readonly connectTimeoutMs: number
  /** Time after the token's expiry in which a refresh is still taken. Beyond it 3005. */
  readonly expiryGraceMs: number
  /** Time a peer has to answer a close before its socket is destroyed. */
  readonly closeTimeoutMs: number
}

export interface GatewayOptions {
  readonly ports: GatewayPorts
  readonly limits?: Partial<GatewayLimits>
  /**
   * Exact origins of the pages that may connect, such as `https://app.example`. Without it a page may connect
   * to the host it came from. Clients that send no `Origin` are not browsers and may always connect.
   */
  readonly allowedOrigins?: readonly string[]
  /**
   * Proxies before this server that set `X-Forwarded-For`; limits by address then count the client that the
   * outermost of them saw. Default `false`: the address of the socket. A number that is too large lets clients
   * choose their address.
   */
  readonly trustProxy?: false | number
  /** Path of the WebSocket. */
  readonly path?: string
  readonly pingIntervalMs?: number
  readonly pongTimeoutMs?: number
  /** How often `canSubscribe` is asked again for each live subscription. Default 0: only `revoke` ends one. */
  readonly reauthorizeMs?: number
  /** Version that clients are given as the server's. */
  readonly version?: string
  readonly clock?: Clock
}

/** Options with every default filled in. */
export interface GatewaySettings {
  readonly limits: GatewayLimits
  readonly allowedOrigins: ReadonlySet<string> | undefined
  /** Proxies before this server. */
  readonly proxyHops: number
  readonly path: string
  readonly pingIntervalMs: number
  readonly pongTimeoutMs: number
  readonly reauthorizeMs: number
  readonly version: string
  readonly clock: Clock
}

export const defaultLimits: GatewayLimits = {
  maxMessageBytes: wire.maxMessageBytes,
  maxConnectBytes: wire.maxConnectBytes,
  maxCommandsPerMessage: wire.maxCommandsPerMessage,
  maxChannelsPerConnection: wire.maxChannelsPerConnection,
  maxOutstandingCalls: wire.maxOutstandingCalls,
  maxPendingCommands: 256,
  maxCommandsPerSecond: 1_000,
  maxQueuedBytes: 1024 * 1024,
  maxConnections: 20_000,
  maxConnectsPerSecond: 5_000,
  // Connections behind a proxy that is not configured all come from one address: lower limits are for servers that know
  // their proxies.
  maxConnectionsPerAddress: 20_000,
  maxConnectsPerAddressPerSecond: 5_000,
  maxConnectionsPerUser: 100,
  connectTimeoutMs: 5_000,
  expiryGraceMs: 5_000,
  closeTimeoutMs: 5_000,
}

/**
 * Bytes of the longest WebSocket message that is read, and of what may be held until a connect is answered. It is more
 * than one command may have, so that a command that is too long can be named and refused, and the connection lives on.
 */
export function longestFrameBytes({ maxMessageBytes }: Pick<GatewayLimits, 'maxMessageBytes'>): number {
  return 4 * maxMessageBytes
}

/** @throws LS_CONFIG_INVALID for a bound, path or origin that cannot work */
export function resolveOptions(options: GatewayOptions): GatewaySettings {
  const settings: GatewaySettings = {
    limits: { ...defaultLimits, ...options.limits },
    allowedOrigins: options.allowedOrigins === undefined ? undefined : parseOrigins(options.allowedOrigins),
    proxyHops: options.trustProxy === undefined || options.trustProxy === false ? 0 : options.trustProxy,
    path: options.path ?? '/lockstep/ws',
    pingIntervalMs: options.pingIntervalMs ?? 25_000,
    pongTimeoutMs: options.pongTimeoutMs ?? 8_000,
    reauthorizeMs: options.reauthorizeMs ?? 0,
    version: options.version ?? 'lockstep',
    clock: options.clock ?? systemClock,
  }
  const { pingIntervalMs, pongTimeoutMs } = settings
  for (const [name, value] of Object.entries({ ...settings.limits, pingIntervalMs, pongTimeoutMs })) {
    if (!Number.isFinite(value) || value <= 0) {
      throw new LockstepError('LS_CONFIG_INVALID', { message: `${name} must be a number above zero.` })
    }
  }
  if (!Number.isFinite(settings.reauthorizeMs) || settings.reauthorizeMs < 0) {
    throw new LockstepError('LS_CONFIG_INVALID', { message: 'reauthorizeMs must be a number, or 0.' })
  }
  if (!Number.isInteger(settings.proxyHops) || settings.proxyHops < 0) {
    throw new LockstepError('LS_CONFIG_INVALID', {
      message: 'trustProxy must be false or a number of proxies.',
    })
  }
  if (pongTimeoutMs >= pingIntervalMs) {
    throw new LockstepError('LS_CONFIG_INVALID', { message: 'pongTimeoutMs must be below pingIntervalMs.' })
  }
  if (!settings.path.startsWith('/') || settings.path.includes('?')) {
    throw new LockstepError('LS_CONFIG_INVALID', { message: 'path must start with "/" and hold no query.' })
  }
  return settings
}

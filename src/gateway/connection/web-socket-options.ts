import type { ServerOptions } from 'ws'
import { longestFrameBytes, type GatewayLimits } from '../contract/gateway-options.ts'
import { GatewaySocket } from './socket.ts'

/** Fragments of one message; browsers send one, and a proxy that cuts messages up makes few. */
const maxFragments = 128
/** TCP chunks that hold one unfinished frame. */
const maxBufferedChunks = 2_048

/** Options of the WebSocket server: sessions keep count, and limits hold, outside of it. */
export function webSocketOptions(limits: GatewayLimits): ServerOptions<typeof GatewaySocket> {
  // Typings of ws 8.18 do not know `closeTimeout` yet.
  const options: ServerOptions<typeof GatewaySocket> & { readonly closeTimeout: number } = {
    noServer: true,
    // Sessions keep count themselves; ws would add a closure to each.
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: longestFrameBytes(limits),
    maxFragments,
    maxBufferedChunks,
    closeTimeout: limits.closeTimeoutMs,
    WebSocket: GatewaySocket,
    handleProtocols: (offered) => (offered.has('centrifuge-json') ? 'centrifuge-json' : false),
  }
  return options
}

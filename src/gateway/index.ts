/**
 * Room `gateway`: WebSocket sessions and HTTP routes. It knows the Centrifuge client protocol, frames, limits and
 * back-pressure; it refuses to know what a token means, who may hear what, or what an operation does: that reaches
 * it through `GatewayPorts`.
 */
export type { Authorize } from './admission.ts'
export { createTokenAuthenticator, signToken, type TokenAuthenticatorOptions } from './authenticate.ts'
export { createGateway, type Gateway } from './create-gateway.ts'
export { toNodeHandler, type FetchHandler, type NodeHandler } from './http-routes.ts'
export type { Revocation } from './identity.ts'
export { defaultLimits, type GatewayLimits, type GatewayOptions } from './options.ts'
export type { DashboardPort, GatewayPorts, Identity, RpcHandler, RpcRequest } from './ports.ts'
export { RevocationFeed, revocations } from './revocation-feed.ts'

/**
 * Room `gateway`: WebSocket sessions and HTTP routes. It knows the Centrifuge client protocol, frames, limits and
 * back-pressure; it refuses to know what a token means, who may hear what, or what an operation does: that reaches
 * it through `GatewayPorts`.
 */
export { createGateway } from './create-gateway.ts'
export type { Gateway } from './gateway.ts'
export { toNodeHandler, type FetchHandler, type NodeHandler } from './http/http-routes.ts'
export { defaultLimits, type GatewayLimits, type GatewayOptions } from './contract/gateway-options.ts'
export type { Authorize, DashboardPort, GatewayPorts, RpcHandler, RpcRequest } from './contract/ports.ts'

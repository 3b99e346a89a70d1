import type { IncomingMessage, ServerResponse } from 'node:http'
import { getRequestListener } from '@hono/node-server'
import { Hono } from 'hono'
import { messageOf } from '../core/index.ts'
import type { GatewayPorts } from './ports.ts'

/** Anything that answers a fetch-style request. */
export interface FetchHandler {
  fetch(request: Request): Promise<Response>
}

/** The gateway's HTTP routes, all under `/lockstep/`. */
export function createRoutes(ports: GatewayPorts, isStopping: () => boolean): FetchHandler {
  const app = new Hono()
  app.get('/lockstep/health', async (context) => {
    context.header('Cache-Control', 'no-store')
    try {
      const health = isStopping() ? { status: 'stopping' as const } : await ports.health()
      return context.json(health, health.status === 'stopping' ? 503 : 200)
    } catch (error) {
      ports.logger.error({ error }, `health check failed: ${messageOf(error)}`)
      return context.json({ status: 'unavailable' }, 503)
    }
  })
  app.notFound((context) => context.json({ error: 'not found' }, 404))
  return { fetch: async (request) => app.fetch(request) }
}

export type NodeHandler = (request: IncomingMessage, response: ServerResponse) => void

/**
 * Mounts the routes on a Node HTTP server: `http.createServer(toNodeHandler(gateway, myOwnHandler))`. What is not
 * under `/lockstep/` goes to `next`, or is answered with 404.
 */
export function toNodeHandler(routes: FetchHandler, next?: NodeHandler): NodeHandler {
  const listener = getRequestListener((request) => routes.fetch(request), { overrideGlobalObjects: false })
  return (request, response) => {
    if (next !== undefined && request.url?.startsWith('/lockstep/') !== true) next(request, response)
    // It answers its own failures and rejects for nothing.
    else void listener(request, response)
  }
}

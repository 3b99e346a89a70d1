import type { IncomingMessage, ServerResponse } from 'node:http'
import { getRequestListener } from '@hono/node-server'
import { Hono } from 'hono'
import { dashboardRoutes } from './dashboard-routes.ts'
import { healthRoute } from './health-route.ts'
import { metricsRoute } from './metrics-route.ts'
import type { GatewayPorts } from './ports.ts'

/** Anything that answers a fetch-style request. */
export interface FetchHandler {
  fetch(request: Request): Promise<Response>
}

/** The gateway's HTTP routes, all under `/lockstep/`. All of them only read: GET and HEAD. */
export function createRoutes(ports: GatewayPorts, isStopping: () => boolean): FetchHandler {
  const app = new Hono()
  app.use(async (context, next) => {
    if (context.req.method === 'GET' || context.req.method === 'HEAD') return next()
    return context.json({ error: 'method not allowed' }, 405, { Allow: 'GET, HEAD' })
  })
  app.get('/lockstep/health', healthRoute(ports, isStopping))
  app.get('/lockstep/metrics', metricsRoute(ports))
  app.route('/', dashboardRoutes(ports))
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

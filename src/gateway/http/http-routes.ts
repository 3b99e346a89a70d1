import type { IncomingMessage, ServerResponse } from 'node:http'
import { getRequestListener } from '@hono/node-server'
import { Hono } from 'hono'
import { describeGiven, disregard, hasMethods, LockstepError, type Clock } from '../../core/index.ts'
import { dashboardRoutes } from './dashboard-routes.ts'
import { healthRoute } from './health-route.ts'
import { metricsRoute } from './metrics-route.ts'
import type { GatewayPorts } from '../contract/ports.ts'

/** A handler of fetch-style requests. */
export interface FetchHandler {
  fetch(request: Request): Promise<Response>
}

export interface RouteOptions {
  readonly clock: Clock
  readonly isStopping: () => boolean
  readonly webSocketPath: string
  readonly isAttached: () => boolean
  /** The WebSocket was asked for over HTTP, because no upgrade reaches the gateway. */
  readonly onNotAttached: () => void
}

/** The gateway's HTTP routes, all under `/lockstep/`. All of them only read: GET and HEAD. */
export function createRoutes(ports: GatewayPorts, options: RouteOptions): FetchHandler {
  const { clock, isStopping, webSocketPath, isAttached, onNotAttached } = options
  const app = new Hono()
  app.use(async (context, next) => {
    if (context.req.method === 'GET' || context.req.method === 'HEAD') return next()
    return context.json({ error: 'method not allowed' }, 405, { Allow: 'GET, HEAD' })
  })
  app.get('/lockstep/health', healthRoute(ports, clock, isStopping))
  app.get('/lockstep/metrics', metricsRoute(ports, clock))
  app.route('/', dashboardRoutes(ports))
  app.get(webSocketPath, (context) => {
    if (isAttached()) {
      return context.json({ error: 'connect by WebSocket' }, 426, {
        Upgrade: 'websocket',
        Connection: 'Upgrade',
      })
    }
    onNotAttached()
    return context.json({ error: 'lockstep.attach(server) was not called' }, 404)
  })
  app.notFound((context) => context.json({ error: 'not found' }, 404))
  return {
    fetch: async (request) => {
      assertRequest(request)
      return app.fetch(request)
    },
  }
}

function assertRequest(value: unknown): void {
  if (typeof value === 'object' && value !== null && hasMethods(value, ['clone', 'json'])) return
  throw new LockstepError('LS_CONFIG_INVALID', {
    message: `fetch takes a Request of the web, and got ${describeGiven(value)}. For requests of Node use lockstep.handler().`,
  })
}

/** A request listener of `node:http`, and middleware of Express and Connect alike. */
export type NodeHandler = (
  request: IncomingMessage,
  response: ServerResponse,
  next?: (error?: unknown) => void,
) => void

/**
 * Mounts the routes on a Node HTTP server: `http.createServer(toNodeHandler(gateway))`, or in Express
 * `app.use(toNodeHandler(gateway))`. What is not under `/lockstep/` goes to `next`, where there is one, else it is
 * answered with 404.
 */
export function toNodeHandler(routes: FetchHandler): NodeHandler {
  const listener = getRequestListener(
    (request, { incoming }) => routes.fetch(asWritten(request, incoming as MountedRequest)),
    { overrideGlobalObjects: false },
  )
  return (request: MountedRequest, response, next) => {
    // Disregard the promise: the listener answers its own failures and never rejects.
    if (isOurs(request.url) || isOurs(request.originalUrl)) disregard(listener(request, response))
    else if (next !== undefined) next()
    else disregard(listener(request, response))
  }
}

function isOurs(url: string | undefined): boolean {
  return url?.startsWith(base) === true
}

const base = '/lockstep/'

/** Express and Connect cut what they mounted a handler at off `url`, and keep the whole. */
interface MountedRequest extends IncomingMessage {
  readonly originalUrl?: string
}

/** The request at the URL whose routes these are. All of them only read, so there is no body to carry over. */
function asWritten(request: Request, { url, originalUrl }: MountedRequest): Request {
  if (originalUrl === undefined || isOurs(url)) return request
  const { method, headers } = request
  return new Request(new URL(originalUrl, request.url), { method, headers })
}

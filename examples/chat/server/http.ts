import { createServer, type Server } from 'node:http'
import { getRequestListener } from '@hono/node-server'
import { Hono } from 'hono'
import { secureHeaders } from 'hono/secure-headers'
import { onlyKnownHosts } from './hosts.ts'

/** Creates the one HTTP server: Lockstep's routes, the login and the pages. */
export function createHttpServer(
  lockstep: { fetch(request: Request): Response | Promise<Response> },
  routes: readonly Hono[],
  hosts: ReadonlySet<string>,
): Server {
  const app = new Hono()
  app.use(onlyKnownHosts(hosts))
  app.use(
    secureHeaders({
      contentSecurityPolicy: {
        defaultSrc: ["'none'"],
        scriptSrc: ["'self'"],
        styleSrc: ["'self'"],
        imgSrc: ["'self'"],
        connectSrc: ["'self'"],
        // The side-by-side page shows this application twice.
        frameSrc: ["'self'"],
        frameAncestors: ["'self'"],
        baseUri: ["'none'"],
        formAction: ["'self'"],
      },
      referrerPolicy: 'no-referrer',
      // Loopback has no TLS to insist on.
      strictTransportSecurity: false,
    }),
  )
  app.all('/lockstep/*', (context) => lockstep.fetch(context.req.raw))
  for (const route of routes) app.route('/', route)
  const listener = getRequestListener(app.fetch)
  // Disregard the promise: the listener answers its own failures and never rejects.
  return createServer((request, response) => void listener(request, response))
}

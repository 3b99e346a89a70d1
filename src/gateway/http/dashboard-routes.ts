import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Hono, type Context, type MiddlewareHandler } from 'hono'
import { messageOf } from '../../core/index.ts'
import { isAdmitted } from './admission.ts'
import { PageFiles } from './page-files.ts'
import type { GatewayPorts } from '../contract/ports.ts'

/**
 * Folder of the built page; the same from `src/gateway/http/` and from `dist/gateway/http/`. It is a path, since
 * bundlers take
 * `new URL('…', import.meta.url)` for a file to bundle, and a folder is none.
 */
function builtPage(): string {
  return join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..', 'dist', 'dashboard')
}

const base = '/lockstep/dashboard'
const defaultMinutes = 60
/** A week. */
const mostMinutes = 10_080

const securityHeaders: Readonly<Record<string, string>> = {
  'Content-Security-Policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; " +
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
  'Referrer-Policy': 'no-referrer',
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
}

const closedText =
  'The dashboard shows names of users and operations, so it is closed until createLockstep is told who may see it: ' +
  'createLockstep({ dashboard: { authorize: (request) => isAdmin(request) } }).'
const refusedText = 'You may not see the dashboard: dashboard.authorize said no to this request.'
const notBuiltText =
  'The page of the dashboard is not built. In a checkout of Lockstep: npm run build. The package has it in dist/dashboard.'

/** The routes below `/lockstep/dashboard`: the page, its assets and its data, all behind one check. */
export function dashboardRoutes(ports: GatewayPorts): Hono {
  const files = new PageFiles(ports.dashboard?.folder ?? builtPage())
  const app = new Hono()
  app.use(`${base}/*`, guard(ports))
  const page = async (context: Context): Promise<Response> => {
    const file = await files.index()
    if (file === undefined) return context.text(`${notBuiltText}\n`, 404)
    return context.body(file.content, 200, { 'Content-Type': file.contentType })
  }
  app.get(base, page)
  app.get(`${base}/`, page)
  app.get(`${base}/assets/:name`, async (context) => {
    const file = await files.asset(context.req.param('name'))
    if (file === undefined) return context.text('There is no such file.\n', 404)
    // Cache for ever, since the names hold a hash of the content; privately, since a check stands before it.
    const headers = {
      'Content-Type': file.contentType,
      'Cache-Control': 'private, max-age=31536000, immutable',
    }
    return context.body(file.content, 200, headers)
  })
  app.get(`${base}/data`, (context) => answerData(ports, context))
  return app
}

function guard({ dashboard, logger }: GatewayPorts): MiddlewareHandler {
  return async (context, next) => {
    for (const [name, value] of Object.entries(securityHeaders)) context.header(name, value)
    context.header('Cache-Control', 'no-store')
    const authorize = dashboard?.authorize
    if (authorize !== undefined && (await isAdmitted(authorize, context.req.raw, logger))) return next()
    const message = authorize === undefined ? closedText : refusedText
    if (context.req.path.endsWith('/data')) return context.json({ code: 'LS_FORBIDDEN', message }, 403)
    return context.html(refusalPage(message), 403)
  }
}

async function answerData({ dashboard, logger }: GatewayPorts, context: Context): Promise<Response> {
  const minutes = toMinutes(context.req.query('minutes'))
  if (minutes === undefined) {
    const message = `minutes is a whole number from 1 to ${mostMinutes}.`
    return context.json({ code: 'LS_INPUT_INVALID', message }, 400)
  }
  try {
    return context.json((await dashboard?.data(minutes)) as object)
  } catch (error) {
    logger.error({ error }, `the dashboard's data cannot be read: ${messageOf(error)}`)
    return context.json(
      { code: 'LS_DATABASE_UNREACHABLE', message: 'The data cannot be read right now.' },
      503,
    )
  }
}

function toMinutes(text: string | undefined): number | undefined {
  if (text === undefined) return defaultMinutes
  const minutes = /^\d{1,5}$/.test(text) ? Number(text) : 0
  return minutes >= 1 && minutes <= mostMinutes ? minutes : undefined
}

function refusalPage(message: string): string {
  const text = message.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
  return (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Lockstep: closed</title>' +
    '<meta name="viewport" content="width=device-width, initial-scale=1">' +
    '<meta name="color-scheme" content="light dark"></head>' +
    `<body><h1>This page is closed</h1><p>${text}</p></body></html>`
  )
}

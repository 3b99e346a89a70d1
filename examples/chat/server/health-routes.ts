import { Hono } from 'hono'
import type { Lockstep } from 'lockstep'

const freshMs = 1_000

/** `GET /demo/health`: what the panel shows of the health monitor, worked out at most once a second. */
export function healthRoutes(health: Lockstep<unknown>['health']): Hono {
  const app = new Hono()
  let reading: { readonly at: number; readonly report: ReturnType<typeof health.report> } | undefined
  app.get('/demo/health', async (context) => {
    const now = performance.now()
    if (reading === undefined || now - reading.at > freshMs) reading = { at: now, report: health.report() }
    context.header('Cache-Control', 'no-store')
    try {
      const { score, violations, connections } = await reading.report
      return context.json({ score, violations, connections })
    } catch {
      return context.json({ code: 'DEMO_HEALTH_UNKNOWN', message: 'The database is away.' }, 503)
    }
  })
  return app
}

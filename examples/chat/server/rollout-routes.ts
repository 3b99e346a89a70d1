import { Hono } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import type { Lockstep, Mode } from 'lockstep'

const operation = 'send_message'
const modes: readonly Mode[] = ['off', 'observe', 'enforce']

/** `GET` and `POST /demo/mode`: how messages are sent. Anybody may change it, so this belongs in a demo only. */
export function rolloutRoutes(rollout: Lockstep<unknown>['rollout']): Hono {
  const app = new Hono()
  const current = () => ({
    mode: rollout.list().find((entry) => entry.operation === operation)?.mode ?? 'enforce',
  })
  const refusal = (code: string, message: string) => ({ code, message })
  app.get('/demo/mode', (context) => context.json(current(), 200, { 'Cache-Control': 'no-store' }))
  app.post(
    '/demo/mode',
    bodyLimit({
      maxSize: 1024,
      onError: (context) => context.json(refusal('DEMO_BODY_TOO_LARGE', 'The request is too large.'), 413),
    }),
    async (context) => {
      // A page of another site cannot send this type without being asked first.
      if (!/^application\/json\b/.test(context.req.header('content-type') ?? '')) {
        return context.json(refusal('DEMO_BODY_INVALID', 'Send JSON with that content type.'), 400)
      }
      const body: unknown = await context.req.json().catch(() => undefined)
      const mode = modes.find((known) => known === Object(body).mode)
      if (mode === undefined) {
        return context.json(
          refusal('DEMO_MODE_INVALID', `Send { "mode": … } with one of ${modes.join(', ')}.`),
          400,
        )
      }
      await rollout.set(operation, mode)
      return context.json(current(), 200, { 'Cache-Control': 'no-store' })
    },
  )
  return app
}

import { Hono } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import { assistantName, namePattern } from './shapes.ts'

const largestBody = 4 * 1024

/** `POST /demo/login`: a name for a token. There is no password, so this belongs in a demo only. */
export function loginRoutes(sign: (user: string) => Promise<string>): Hono {
  const app = new Hono()
  const refusal = (code: string, message: string) => ({ code, message })
  app.post(
    '/demo/login',
    bodyLimit({
      maxSize: largestBody,
      onError: (context) => context.json(refusal('DEMO_BODY_TOO_LARGE', 'The request is too large.'), 413),
    }),
    async (context) => {
      const body: unknown = await context.req.json().catch(() => undefined)
      const user = Object(body).user as unknown
      if (typeof user !== 'string') {
        return context.json(refusal('DEMO_BODY_INVALID', 'Send JSON of the form { "user": "ada" }.'), 400)
      }
      if (!namePattern.test(user)) {
        return context.json(
          refusal(
            'DEMO_NAME_INVALID',
            'A name has 1 to 32 letters from a to z, digits, dots, dashes or underscores, without two dots in a row.',
          ),
          400,
        )
      }
      if (user.toLowerCase() === assistantName) {
        return context.json(refusal('DEMO_NAME_TAKEN', 'The assistant has that name. Take another one.'), 400)
      }
      context.header('Cache-Control', 'no-store')
      return context.json({ token: await sign(user) })
    },
  )
  return app
}

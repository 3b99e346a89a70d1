import type { Context } from 'hono'
import { messageOf } from '../core/index.ts'
import type { GatewayPorts } from './ports.ts'

/** A probe waits for its answer, and the next one comes soon. */
const healthTimeoutMs = 2_000

/**
 * `GET /lockstep/health`: 503 when the node is stopping or cannot tell. `?probe=live`: 200 as long as this process
 * answers at all. `?probe=ready`: 200 only while it takes operations.
 */
export function healthRoute(
  ports: GatewayPorts,
  isStopping: () => boolean,
): (context: Context) => Promise<Response> {
  return async (context) => {
    context.header('Cache-Control', 'no-store')
    const probe = context.req.query('probe')
    if (probe === 'live') return context.json({ probe, live: true })
    if (probe !== undefined && probe !== 'ready') {
      return context.json(
        { code: 'LS_INPUT_INVALID', message: 'probe is "live" or "ready", or absent.' },
        400,
      )
    }
    try {
      const health = isStopping() ? { status: 'stopping' as const } : await inTime(ports.health())
      if (probe === undefined) return context.json(health, health.status === 'stopping' ? 503 : 200)
      const ready = health.status === 'ok'
      return context.json({ probe, ready, status: health.status }, ready ? 200 : 503)
    } catch (error) {
      ports.logger.error({ error }, `health check failed: ${messageOf(error)}`)
      return context.json({ status: 'unavailable' }, 503)
    }
  }
}

async function inTime<T>(answer: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer in ${healthTimeoutMs} ms`)), healthTimeoutMs)
  })
  try {
    return await Promise.race([answer, late])
  } finally {
    clearTimeout(timer)
  }
}

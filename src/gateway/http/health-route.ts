import type { Context } from 'hono'
import { inTime, messageOf, type Clock } from '../../core/index.ts'
import { isAdmitted } from './admission.ts'
import { atMostEachSecond } from './at-most-each-second.ts'
import type { GatewayPorts } from '../contract/ports.ts'

/** A probe waits for its answer, and the next one comes soon. */
const healthTimeoutMs = 2_000

/**
 * `GET /lockstep/health`: the status, and all that is known for whom `authorizeHealth` lets in; 503 when the node is
 * stopping or cannot tell. `?probe=live`: 200 as long as this process answers at all. `?probe=ready`: 200 only while it
 * takes operations.
 */
export function healthRoute(
  ports: GatewayPorts,
  clock: Clock,
  isStopping: () => boolean,
): (context: Context) => Promise<Response> {
  const status = atMostEachSecond(clock, () => ports.status())
  const detail = atMostEachSecond(clock, () => ports.health())
  const soon = <T>(answer: Promise<T>): Promise<T> =>
    inTime(clock, healthTimeoutMs, answer, () => new Error(`no answer in ${healthTimeoutMs} ms`))
  const maySeeDetail = async (request: Request): Promise<boolean> =>
    ports.authorizeHealth !== undefined && (await isAdmitted(ports.authorizeHealth, request, ports.logger))
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
      if (isStopping()) return context.json(answerOf(probe, 'stopping'), 503)
      if (probe === undefined && (await maySeeDetail(context.req.raw))) {
        const health = await soon(detail())
        return context.json(health, health.status === 'stopping' ? 503 : 200)
      }
      const current = await soon(status())
      const isGood = probe === 'ready' ? current === 'ok' : current !== 'stopping'
      return context.json(answerOf(probe, current), isGood ? 200 : 503)
    } catch (error) {
      ports.logger.error({ error }, `health check failed: ${messageOf(error)}`)
      return context.json({ status: 'unavailable' }, 503)
    }
  }
}

function answerOf(probe: 'ready' | undefined, status: string): object {
  return probe === undefined ? { status } : { probe, ready: status === 'ok', status }
}

import type { Context } from 'hono'
import { messageOf, type Clock } from '../../core/index.ts'
import { isAdmitted } from './admission.ts'
import { atMostEachSecond } from './at-most-each-second.ts'
import type { GatewayPorts } from '../contract/ports.ts'

const closedText =
  'The metrics name operations and cost time to write, so they are closed until createLockstep is told who may read them: ' +
  'createLockstep({ metrics: { authorize: (request) => isScraper(request) } }).\n'

/** `GET /lockstep/metrics`: closed unless `authorizeMetrics` lets the request in. */
export function metricsRoute(ports: GatewayPorts, clock: Clock): (context: Context) => Promise<Response> {
  const { authorizeMetrics, logger } = ports
  const written = atMostEachSecond(clock, async () => ports.metrics?.())
  return async (context) => {
    context.header('Cache-Control', 'no-store')
    context.header('X-Content-Type-Options', 'nosniff')
    if (ports.metrics === undefined)
      return context.text('This node keeps no metrics: monitor.level is "off".\n', 404)
    if (authorizeMetrics === undefined) return context.text(closedText, 403)
    if (!(await isAdmitted(authorizeMetrics, context.req.raw, logger))) {
      return context.text('metrics.authorize said no.\n', 403)
    }
    try {
      const text = await written()
      return context.body(text?.body ?? '', 200, { 'Content-Type': text?.contentType ?? 'text/plain' })
    } catch (error) {
      logger.error({ error }, `metrics failed: ${messageOf(error)}`)
      return context.text('The metrics cannot be read right now.\n', 500)
    }
  }
}

import type { Context } from 'hono'
import { messageOf } from '../core/index.ts'
import { isAdmitted } from './admission.ts'
import type { GatewayPorts } from './ports.ts'

/** `GET /lockstep/metrics`: open unless `authorizeMetrics` is there, since it names operations and no user or channel. */
export function metricsRoute(ports: GatewayPorts): (context: Context) => Promise<Response> {
  return async (context) => {
    context.header('Cache-Control', 'no-store')
    context.header('X-Content-Type-Options', 'nosniff')
    if (ports.metrics === undefined)
      return context.text('This node keeps no metrics: monitor.level is "off".\n', 404)
    const { authorizeMetrics, logger } = ports
    if (authorizeMetrics !== undefined && !(await isAdmitted(authorizeMetrics, context.req.raw, logger))) {
      return context.text('metrics.authorize said no.\n', 403)
    }
    try {
      const { contentType, body } = await ports.metrics()
      return context.body(body, 200, { 'Content-Type': contentType })
    } catch (error) {
      logger.error({ error }, `metrics failed: ${messageOf(error)}`)
      return context.text('The metrics cannot be read right now.\n', 500)
    }
  }
}

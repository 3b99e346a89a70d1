import { Hono } from 'hono'

/** What a node tells the process that runs it as one of several. */
export type MemberMessage = { readonly listening: number } | { readonly killSomeNode: true }

export interface ClusterMember {
  readonly routes: Hono
  listening(port: number): void
}

/** Undefined for a demo that runs as a single process. */
export function joinCluster(env: NodeJS.ProcessEnv): ClusterMember | undefined {
  if (env['LOCKSTEP_CLUSTER'] !== '1' || process.send === undefined) return undefined
  const tell = (message: MemberMessage): void => void process.send?.(message)
  // Without the parent nobody would restart it, or end it.
  process.once('disconnect', () => process.exit(1))
  const routes = new Hono()
  routes.get('/demo/cluster', (context) =>
    context.json({ cluster: true }, 200, { 'Cache-Control': 'no-store' }),
  )
  routes.post('/demo/kill-node', (context) => {
    // A page of another site cannot send this type without being asked first.
    if (context.req.header('content-type') !== 'application/json') {
      return context.json({ code: 'DEMO_BODY_INVALID', message: 'Send JSON.' }, 400)
    }
    tell({ killSomeNode: true })
    return context.json({}, 202)
  })
  return { routes, listening: (port) => tell({ listening: port }) }
}

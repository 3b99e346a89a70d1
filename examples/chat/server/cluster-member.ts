import { Hono } from 'hono'

/** Messages from a node of a cluster to the process that runs it. */
export type MemberMessage = { readonly listening: number } | { readonly killSomeNode: true }

export interface ClusterMember {
  readonly routes: Hono
  /** Address that the whole cluster is reached at; undefined for a single process. */
  readonly host: string | undefined
  listening(port: number): void
}

/** A demo that runs as a single process has nothing to tell, and says so to its page. */
export function joinCluster(env: NodeJS.ProcessEnv): ClusterMember {
  const isMember = env['LOCKSTEP_CLUSTER'] === '1' && process.send !== undefined
  const routes = new Hono()
  routes.get('/demo/cluster', (context) =>
    context.json({ cluster: isMember }, 200, { 'Cache-Control': 'no-store' }),
  )
  if (!isMember) return { routes, host: undefined, listening: () => {} }
  const tell = (message: MemberMessage): void => void process.send?.(message)
  // Exit without the parent: nobody else would restart this process, or end it. The parent may be gone already.
  if (!process.connected) process.exit(1)
  process.once('disconnect', () => process.exit(1))
  routes.post('/demo/kill-node', (context) => {
    // A page of another site cannot send this type without being asked first.
    if (context.req.header('content-type') !== 'application/json') {
      return context.json({ code: 'DEMO_BODY_INVALID', message: 'Send JSON.' }, 400)
    }
    tell({ killSomeNode: true })
    return context.json({}, 202)
  })
  return { routes, host: env['LOCKSTEP_CLUSTER_HOST'], listening: (port) => tell({ listening: port }) }
}

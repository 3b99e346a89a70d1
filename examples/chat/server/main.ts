import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createLockstep, isLockstepError, signToken } from 'lockstep'
import { defineChat } from './chat.ts'
import { joinCluster } from './cluster-member.ts'
import { ConfigError, readConfig, shortestSecret } from './config.ts'
import { openDatabase } from './database.ts'
import { healthRoutes } from './health-routes.ts'
import { knownHosts, upgradesOfKnownHosts } from './hosts.ts'
import { createHttpServer } from './http.ts'
import { loginRoutes } from './login.ts'
import { rolloutRoutes } from './rollout-routes.ts'
import { createTables } from './schema.ts'
import { firstSignal } from './signals.ts'
import { staticFiles } from './static-files.ts'

const tokenLifetimeSeconds = 12 * 60 * 60

/** Runs the demo until a signal, and ends the process with it: 0 after a signal, 1 when it could not start. */
export async function main(options: { readonly webRoot: URL }): Promise<void> {
  const signalled = firstSignal()
  try {
    const stop = await start(options.webRoot)
    await signalled
    await stop()
    process.exit(0)
  } catch (error) {
    log(explain(error))
    process.exit(1)
  }
}

async function start(webRoot: URL): Promise<() => Promise<void>> {
  const config = readConfig(process.argv.slice(2), process.env)
  if (Buffer.byteLength(config.secret) < shortestSecret) {
    log(
      `LOCKSTEP_SECRET has less than ${shortestSecret} bytes, so tokens can be guessed: good for a trial only`,
    )
  }
  const cluster = joinCluster(process.env)
  const opened = await openDatabase(config, log)
  const lockstep = createLockstep({
    database: opened.database,
    auth: { secret: config.secret, allowShortSecret: true },
    // A demo listens on loopback unless somebody opens it: then its dashboard stays closed.
    // The page shows it to everybody.
    health: { authorize: () => true },
    dashboard: { authorize: () => isLoopback(cluster.host ?? config.host) },
  })
  defineChat(lockstep)
  await lockstep.start()
  await createTables(opened.database.db)

  const sign = (user: string): Promise<string> => signToken(config.secret, user, tokenLifetimeSeconds)
  const routes = [
    loginRoutes(sign),
    rolloutRoutes(lockstep.rollout),
    healthRoutes(lockstep.health),
    cluster.routes,
    staticFiles(webRoot),
  ]
  const hosts = knownHosts(cluster.host ?? config.host, config.allowedHosts)
  const server = createHttpServer(lockstep, routes, hosts)
  lockstep.attach(upgradesOfKnownHosts(server, hosts))
  await listen(server, config.host, config.port)
  log(`data: ${opened.description}`)
  const { port } = server.address() as AddressInfo
  log(`open http://localhost:${port}`)
  cluster.listening(port)

  return async () => {
    log('stopping')
    const closed = once(server, 'close')
    server.close()
    await lockstep.close()
    server.closeAllConnections()
    await closed
    await opened.close()
  }
}

async function listen(server: Server, host: string, port: number): Promise<void> {
  server.listen(port, host)
  await once(server, 'listening')
}

function explain(error: unknown): string {
  if (error instanceof ConfigError) return error.message
  const { code, port } = Object(error) as { code?: unknown; port?: unknown }
  if (code === 'EADDRINUSE') return `port ${String(port)} is taken by another program; set PORT to a free one`
  if (isLockstepError(error, 'LS_DATABASE_UNREACHABLE')) {
    return `${error.code}: ${error.message}; start that database or correct DATABASE_URL (without it the demo brings its own)`
  }
  if (isLockstepError(error)) return `${error.code}: ${error.message}`
  return error instanceof Error ? error.message : String(error)
}

function log(line: string): void {
  console.log(`lockstep chat: ${line}`)
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host.startsWith('127.')
}

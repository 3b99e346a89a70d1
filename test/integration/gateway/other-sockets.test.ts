// Lockstep beside other listeners for upgrades on one HTTP server: its path is its own, in whatever order they are
// attached, and the sockets of others go on.
import { once } from 'node:events'
import { createServer, type RequestListener, type Server } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import fastifyWebsocket from '@fastify/websocket'
import express from 'express'
import expressWs from 'express-ws'
import Fastify from 'fastify'
import { Server as SocketIo } from 'socket.io'
import { createServer as createVite } from 'vite'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { createClient, type Client } from '../../../src/client/index.ts'
import { toNodeHandler } from '../../../src/gateway/index.ts'
import { startWorld, token, type World } from './harness.ts'

// An alias, for which there are no types of its own.
const require = createRequire(import.meta.url)
const express4 = require('express4') as typeof express

let world: World
const undo: (() => unknown)[] = []
beforeEach(async () => {
  world = await startWorld()
})
afterEach(async () => {
  for (const each of undo.splice(0).toReversed()) await each()
  await world.stop()
})

/** Attaches something that answers WebSockets with a greeting; resolves to how to reach it. */
type Neighbour = (server: Server) => Promise<string> | string

const greet = (socket: WebSocket): void => socket.send('hi')

async function clientOn(server: Server): Promise<Client> {
  const { port } = server.address() as AddressInfo
  const client = createClient({
    url: `ws://127.0.0.1:${port}/lockstep/ws`,
    getToken: () => token('ada'),
    websocket: WebSocket,
    storage: null,
    minReconnectDelayMs: 1,
  })
  undo.push(() => client.close())
  return client
}

/** First message of the neighbour on a socket of its own. */
async function greetingOn(server: Server, path: string): Promise<string> {
  const { port } = server.address() as AddressInfo
  const protocols = path.includes('token=') ? ['vite-hmr'] : []
  const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`, protocols)
  const [message] = (await once(socket, 'message')) as [Buffer]
  socket.terminate()
  return message.toString()
}

async function listen(server: Server): Promise<void> {
  if (!server.listening) {
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
  }
  undo.push(() => {
    server.closeAllConnections()
    server.close()
  })
}

const neighbours: readonly (readonly [string, Neighbour])[] = [
  [
    'ws with a path',
    (server) => {
      new WebSocketServer({ server, path: '/ws' }).on('connection', greet)
      return '/ws'
    },
  ],
  [
    'ws for all paths',
    (server) => {
      new WebSocketServer({ server }).on('connection', greet)
      return '/anything'
    },
  ],
  [
    'Socket.IO',
    (server) => {
      const io = new SocketIo(server, { destroyUpgradeTimeout: 1 })
      undo.push(() => io.close())
      return '/socket.io/?EIO=4&transport=websocket'
    },
  ],
  [
    'the Vite dev server',
    async (server) => {
      const vite = await createVite({
        configFile: false,
        logLevel: 'silent',
        root: import.meta.dirname,
        optimizeDeps: { noDiscovery: true },
        server: { middlewareMode: true, hmr: { server }, watch: null },
      })
      undo.push(() => vite.close())
      return `/?token=${vite.config.webSocketToken}`
    },
  ],
]

test.each(
  neighbours.flatMap(([name, attach]) => [
    [name, 'first', attach] as const,
    [name, 'second', attach] as const,
  ]),
)('beside %s, attached %s: both are served', async (_name, order, attach) => {
  const server = createServer(toNodeHandler(world.gateway))
  let path = order === 'first' ? await attach(server) : ''
  world.gateway.attach(server)
  if (order === 'second') path = await attach(server)
  await listen(server)
  const client = await clientOn(server)
  expect(await client.query('echo', 'all this')).toBe('all this')
  expect(await greetingOn(server, path)).toMatch(/hi|sid|connected/)
  // The neighbour does not end the client's socket a while later, either.
  expect(await client.query('echo', 'and that')).toBe('and that')
})

test.each(['first', 'second'])('beside @fastify/websocket, attached %s: both are served', async (order) => {
  const fastify = Fastify()
  undo.push(() => fastify.close())
  if (order === 'second') world.gateway.attach(fastify.server)
  await fastify.register(fastifyWebsocket)
  await fastify.register(async (routes) => {
    routes.get('/ws', { websocket: true }, greet)
  })
  if (order === 'first') world.gateway.attach(fastify.server)
  await fastify.listen({ port: 0, host: '127.0.0.1' })
  const client = await clientOn(fastify.server)
  expect(await client.query('echo', 1)).toBe(1)
  expect(await greetingOn(fastify.server, '/ws')).toBe('hi')
  // Fastify closes only sockets of its own, and waits for others that are open.
  client.close()
})

test.each([
  ['Express 4', 'first', express4],
  ['Express 4', 'second', express4],
  ['Express 5', 'first', express],
  ['Express 5', 'second', express],
] as const)('beside express-ws on %s, attached %s: both are served', async (_name, order, create) => {
  const app = create()
  const server = createServer(app as unknown as RequestListener)
  if (order === 'second') world.gateway.attach(server)
  expressWs(app, server).app.ws('/ws', (socket) => greet(socket))
  if (order === 'first') world.gateway.attach(server)
  await listen(server)
  expect(await (await clientOn(server)).query('echo', 1)).toBe(1)
  expect(await greetingOn(server, '/ws')).toBe('hi')
})

test.each([
  ['Express 4', express4],
  ['Express 5', express],
] as const)(
  'in %s the handler is middleware: it leaves the application its own routes',
  async (_name, create) => {
    const app = create()
    app.use(toNodeHandler(world.gateway))
    app.use('/mounted', toNodeHandler(world.gateway))
    app.get('/mine', (_request, response) => void response.send('mine'))
    app.get('/mounted/mine', (_request, response) => void response.send('mounted'))
    const server = createServer(app as unknown as RequestListener)
    await listen(server)
    const { port } = server.address() as AddressInfo
    const ask = async (path: string): Promise<string> =>
      (await fetch(`http://127.0.0.1:${port}${path}`)).text()
    expect([await ask('/mine'), await ask('/mounted/mine')]).toEqual(['mine', 'mounted'])
    expect(await ask('/lockstep/health')).toBe('{"status":"ok"}')
  },
)

test.each(['/', '/lockstep', '/api'])('in Express, mounted at %s, it answers its routes', async (mount) => {
  const app = express()
  app.use(mount, toNodeHandler(world.gateway))
  const server = createServer(app)
  await listen(server)
  const { port } = server.address() as AddressInfo
  const path = mount === '/api' ? '/api/lockstep/health' : '/lockstep/health'
  const response = await fetch(`http://127.0.0.1:${port}${path}`)
  expect([response.status, await response.text()]).toEqual([200, '{"status":"ok"}'])
})

test('two gateways on one server have a path each, and cannot share one', async () => {
  const other = await startWorld({ path: '/second/ws' })
  undo.push(() => other.stop())
  other.methods.set('echo', async () => 'the second')
  const server = createServer()
  world.gateway.attach(server)
  other.gateway.attach(server)
  const third = await startWorld()
  undo.push(() => third.stop())
  expect(() => third.gateway.attach(server)).toThrow(expect.objectContaining({ code: 'LS_CONFIG_INVALID' }))
  await listen(server)
  expect(await (await clientOn(server)).query('echo', 'the first')).toBe('the first')
  const { port } = server.address() as AddressInfo
  const client = createClient({
    url: `ws://127.0.0.1:${port}/second/ws`,
    getToken: () => token('ada'),
    websocket: WebSocket,
    storage: null,
  })
  undo.push(() => client.close())
  expect(await client.query('echo', 1)).toBe('the second')
  const elsewhere = new WebSocket(`ws://127.0.0.1:${port}/elsewhere`)
  const [error] = (await once(elsewhere, 'error')) as [Error]
  expect(error.message).toContain('404')
})

test('a gateway that closes gives the server back as it was', async () => {
  const server = createServer()
  world.gateway.attach(server)
  expect([Object.hasOwn(server, 'emit'), server.listenerCount('upgrade')]).toEqual([true, 1])
  await world.gateway.close()
  expect([Object.hasOwn(server, 'emit'), server.listenerCount('upgrade')]).toEqual([false, 0])
})

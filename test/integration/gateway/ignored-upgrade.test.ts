// Clients that offer to go on in HTTP/2, as Java's do by themselves, to a server that the gateway is attached to.
import { once } from 'node:events'
import { createServer, request, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { toNodeHandler } from '../../../src/gateway/index.ts'
import { startWorld, type World } from './harness.ts'

let world: World
let server: ReturnType<typeof createServer>
let port: number

beforeEach(async () => {
  world = await startWorld()
  const handle = toNodeHandler(world.gateway)
  server = createServer((incoming, response) =>
    handle(incoming, response, () => {
      void text(incoming).then((body) =>
        response.end(`${incoming.method} ${String(incoming.headers['x-my'])} ${body}`),
      )
    }),
  )
  world.gateway.attach(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  port = (server.address() as AddressInfo).port
})
afterEach(async () => {
  server.closeAllConnections()
  server.close()
  await world.stop()
})

const h2c = { Connection: 'Upgrade, HTTP2-Settings', Upgrade: 'h2c', 'HTTP2-Settings': 'AAMAAABkAAQAAP__' }

async function ask(path: string, body?: string): Promise<{ status: number | undefined; body: string }> {
  const headers = { ...h2c, 'X-My': 'header' }
  const asking = request({ port, path, headers, method: body === undefined ? 'GET' : 'POST', agent: false })
  asking.end(body)
  const [response] = (await once(asking, 'response')) as [IncomingMessage]
  return { status: response.statusCode, body: await text(response) }
}

test('are served in HTTP/1.1: routes of the application and of the gateway, also with a body', async () => {
  expect(await ask('/mine')).toEqual({ status: 200, body: 'GET header ' })
  const long = 'x'.repeat(300_000)
  expect(await ask('/mine', long)).toEqual({ status: 200, body: `POST header ${long}` })
  expect(await ask('/lockstep/health')).toEqual({ status: 200, body: '{"status":"ok"}' })
})

test('a WebSocket on a path that nobody serves is refused as before', async () => {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/elsewhere`)
  const [error] = (await once(socket, 'error')) as [Error]
  expect(error.message).toContain('404')
})

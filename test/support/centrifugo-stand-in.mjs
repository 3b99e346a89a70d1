#!/usr/bin/env node
// Stand-in for Centrifugo in a test of the bench: started with `--config <file>`, it serves clients that speak its JSON
// protocol, and the two calls of its HTTP API that publish. Whatever the file does not allow, it refuses. Two routes
// are not Centrifugo's: /stand-in/counts tells how often it was asked what, and between /stand-in/hold and
// /stand-in/release nothing leaves for clients.
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { parseArgs } from 'node:util'
import { WebSocketServer } from 'ws'

const unknownChannel = { code: 102, message: 'unknown channel' }
const maxMessagesInFrame = 16
/** Pause between two pings, in messages: short enough that some share a frame with messages. */
const pingEvery = 25

const { values } = parseArgs({ options: { config: { type: 'string' } } })
const config = JSON.parse(readFileSync(values.config ?? 'config.json', 'utf8'))
const namespaces = new Map((config.channel?.namespaces ?? []).map((namespace) => [namespace.name, namespace]))
const epoch = randomBytes(2).toString('hex')
/** Sockets and the last offset by channel. */
const channels = new Map()
const counts = { publish: 0, batch: 0, apiConnections: 0, pongs: 0 }
const apiSockets = new WeakSet()
let isHeld = false
/** Frames to be sent on release. */
const held = []

const namespaceOf = (channel) => namespaces.get(channel.split(':', 1)[0])

function channelOf(name) {
  const channel = channels.get(name) ?? { subscribers: new Set(), offset: 0 }
  channels.set(name, channel)
  return channel
}

/** Queues messages for a client, which leave as one frame each turn of the loop, as many as fit. */
function outgoing(socket) {
  const queue = []
  const flush = () => {
    if (isHeld) {
      held.push(flush)
      return
    }
    while (queue.length > 0) socket.send(queue.splice(0, maxMessagesInFrame).join('\n'))
  }
  return (message) => {
    if (queue.push(message) === 1) setImmediate(flush)
  }
}

function serveClient(socket) {
  const send = outgoing(socket)
  let isConnected = false
  const answer = (command) => {
    if (command.connect !== undefined) connect(command)
    else if (!isConnected) socket.close(3003, 'bad request')
    else if (command.subscribe !== undefined) subscribe(command)
    else counts.pongs += 1
  }
  const connect = (command) => {
    isConnected = config.client?.insecure === true
    if (!isConnected) socket.close(3500, 'invalid token')
    else send(reply(command, { connect: { client: randomBytes(8).toString('hex'), ping: 25, pong: true } }))
  }
  const subscribe = (command) => {
    const { channel } = command.subscribe
    const namespace = namespaceOf(channel)
    if (namespace === undefined) {
      send(reply(command, { error: unknownChannel }))
      return
    }
    const { subscribers, offset } = channelOf(channel)
    subscribers.add(send)
    socket.once('close', () => subscribers.delete(send))
    const isPositioned = namespace.force_recovery === true
    send(
      reply(command, {
        subscribe: isPositioned ? { recoverable: true, positioned: true, epoch, offset } : {},
      }),
    )
  }
  socket.on('error', () => {})
  socket.on('message', (data) => {
    for (const line of data.toString().split('\n')) answer(JSON.parse(line))
  })
}

const reply = ({ id }, body) => JSON.stringify({ id, ...body })

/** Returns the result, or an error that says what is wrong. */
function publish({ channel, data }) {
  const namespace = typeof channel === 'string' ? namespaceOf(channel) : undefined
  if (namespace === undefined) return { error: unknownChannel }
  if (data === undefined) return { error: { code: 107, message: 'bad request' } }
  const state = channelOf(channel)
  state.offset += 1
  const hasHistory = namespace.history_size > 0 && namespace.history_ttl !== undefined
  const position = hasHistory ? { offset: state.offset } : {}
  const push = JSON.stringify({ push: { channel, pub: { data, ...position } } })
  for (const send of state.subscribers) {
    send(push)
    if (state.offset % pingEvery === 0) send('{}')
  }
  return { result: hasHistory ? { ...position, epoch } : {} }
}

const calls = {
  '/api/publish': (body) => {
    counts.publish += 1
    return publish(body)
  },
  '/api/batch': ({ commands }) => {
    counts.batch += 1
    const replies = commands.map((command) => {
      const { error, result } = publish(command.publish)
      return error === undefined ? { publish: result } : { error }
    })
    return { replies }
  },
}

const standInCalls = {
  '/stand-in/counts': () => counts,
  '/stand-in/hold': () => {
    isHeld = true
  },
  '/stand-in/release': () => {
    isHeld = false
    for (const flush of held.splice(0)) flush()
  },
}

/** Status by which a call to the API is refused; undefined where it is allowed. */
function refusal({ url, method, headers }) {
  if (calls[url] === undefined) return 404
  if (method !== 'POST') return 405
  const { key, insecure } = config.http_api ?? {}
  return insecure === true || (Boolean(key) && headers['x-api-key'] === key) ? undefined : 401
}

async function serveApi(request, response) {
  let text = ''
  for await (const part of request.setEncoding('utf8')) text += part
  const status = refusal(request)
  if (status !== undefined) {
    response.writeHead(status).end()
    return
  }
  if (!apiSockets.has(request.socket)) counts.apiConnections += 1
  apiSockets.add(request.socket)
  response
    .setHeader('content-type', 'application/json')
    .end(JSON.stringify(calls[request.url](JSON.parse(text))))
}

const server = createServer((request, response) => {
  const standInCall = standInCalls[request.url]
  if (standInCall === undefined) void serveApi(request, response)
  else response.end(JSON.stringify(standInCall() ?? {}))
})
// Keeps connections open between requests, as Go's server does.
server.keepAliveTimeout = 0
const webSockets = new WebSocketServer({ server, path: '/connection/websocket', perMessageDeflate: false })
webSockets.on('connection', serveClient)
server.listen(Number(config.http_server.port), config.http_server.address)

// The least that an idle connection costs: the `ws` package, one listener of each kind, and an answer to each message.
import { createServer } from 'node:http'
import { WebSocketServer } from 'ws'
import { answerBench, listenLocally } from '../harness/child-host.ts'
import { memoryOf } from '../harness/memory.ts'

const server = createServer()
const webSockets = new WebSocketServer({ server, perMessageDeflate: false, maxPayload: 64 * 1024 })
webSockets.on('connection', (socket) => {
  socket.on('message', (data: Buffer) => socket.send(data.toString()))
  socket.on('error', () => {})
})
const port = await listenLocally(server)
answerBench({ port: () => port, memory: () => memoryOf(server) })

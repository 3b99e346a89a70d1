// What an idle connection costs at least: the `ws` package, one listener of each kind, and an answer to what it is sent.
import { createServer } from 'node:http'
import { WebSocketServer } from 'ws'
import { answerParent } from './child.ts'

const server = createServer()
const webSockets = new WebSocketServer({ server, perMessageDeflate: false, maxPayload: 64 * 1024 })
webSockets.on('connection', (socket) => {
  socket.on('message', (data: Buffer) => socket.send(data.toString()))
  socket.on('error', () => {})
})
answerParent(server, {})

// Feeds a Centrifugo over its HTTP API, on one connection that is kept, as a backend beside it would.
import { Agent, request } from 'node:http'
import { maxQueuedBytes, newEvent, pumpBursts, pushText, roomName, type Pump } from '../harness/broadcast.ts'
import { answerBench, childConfig } from '../harness/child-host.ts'
import { openCountingSocket } from '../harness/counting-socket.ts'
import { processCpuUs } from '../harness/process-cpu.ts'

/** Configuration of a Centrifugo that the bench has started, and will end. */
export interface CentrifugoBroadcasterConfig {
  readonly port: number
  readonly pid: number
  readonly apiKey: string
}

/** @see https://centrifugal.dev/docs/server/server_api: an error is answered with status 200, too */
interface Answer {
  readonly error?: { readonly code: number; readonly message: string }
  /** Answers to a batch, one for each command. */
  readonly replies?: readonly Answer[]
}

const { port, pid, apiKey } = childConfig() as CentrifugoBroadcasterConfig
const agent = new Agent({ keepAlive: true, maxSockets: 1 })

const newPublish = () => ({ channel: roomName, data: newEvent() })

async function publish(count: number): Promise<void> {
  if (count === 1) await call('/api/publish', newPublish())
  else
    await call('/api/batch', { commands: Array.from({ length: count }, () => ({ publish: newPublish() })) })
  published += count
}

/** @throws when it, or a part of it, was refused */
async function call(path: string, body: object): Promise<void> {
  const answer = JSON.parse(await post(path, JSON.stringify(body))) as Answer
  for (const { error } of [answer, ...(answer.replies ?? [])]) {
    if (error !== undefined) throw new Error(`Centrifugo answered ${error.code}, ${error.message}`)
  }
}

function post(path: string, body: string): Promise<string> {
  const headers = {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    'x-api-key': apiKey,
  }
  return new Promise((resolve, reject) => {
    const sent = request({ host: '127.0.0.1', port, path, method: 'POST', agent, headers }, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (part: string) => (text += part))
      response.on('error', reject)
      response.on('end', () => {
        if (response.statusCode === 200) resolve(text)
        else reject(new Error(`Centrifugo answered ${response.statusCode}: ${text}`))
      })
    })
    sent.on('error', reject)
    sent.end(body)
  })
}

let published = 0
let heard = 0
let wake: (() => void) | undefined
/**
 * Receiver that shows how far Centrifugo has come: its queues cannot be seen from outside, but a subscriber's last
 * message can.
 */
const probe = await openCountingSocket({ wire: 'centrifugo', port, channel: roomName, n: 0 }, (messages) => {
  heard += messages
  wake?.()
})
probe.once('close', () => wake?.())
const maxOnTheirWay = Math.floor(maxQueuedBytes / Buffer.byteLength(pushText(1)))

const isFull = (): boolean => published - heard > maxOnTheirWay

async function roomToWrite(): Promise<void> {
  while (isFull()) {
    if (probe.destroyed) throw new Error('Centrifugo has closed the socket that tells how far it is')
    await new Promise<void>((resolve) => (wake = resolve))
  }
}

let cpuFrom: number | undefined

answerBench({
  port: () => port,
  pump: async (pump: Pump) => {
    cpuFrom = await processCpuUs(pid)
    return pumpBursts(pump, publish, roomToWrite)
  },
  /** Processor time of Centrifugo alone; undefined where the system does not tell. */
  cpuUs: async () => {
    const cpuTo = await processCpuUs(pid)
    return cpuFrom === undefined || cpuTo === undefined ? undefined : cpuTo - cpuFrom
  },
  /** Does no work: Centrifugo notices closed sockets by itself, and its offsets go on. */
  forget: () => {},
})

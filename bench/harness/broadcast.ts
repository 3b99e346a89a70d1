// Messages of the servers in the fan-out lane, and the interface by which the lane drives each of them.
import { newOperationId } from '../../src/index.ts'
import { nowUs } from './child-host.ts'

export interface Pump {
  readonly seconds: number
  /** Messages in one turn of the loop. */
  readonly burst: number
}

export interface Pumped {
  readonly messages: number
  readonly beganUs: number
}

/** Resolves when as many messages were handed over; how far they have come is not its concern. */
export type SendBurst = (count: number) => void | Promise<void>

export const roomName = 'room:1'
export const payload = {
  text: 'a message of a chat, about as long as messages of chats are: a hundred bytes or so.',
  n: 0,
}
/** Bytes that may wait for one receiver before the next burst is sent. */
export const maxQueuedBytes = 64 * 1024

/** The data of a push, as Lockstep writes it. */
export const newEvent = () => ({
  type: 'noted',
  data: payload,
  operationId: newOperationId(),
  at: new Date().toISOString(),
})

/** The text of a push, as Lockstep and Centrifugo write it. */
export const pushText = (offset: number): string =>
  JSON.stringify({ push: { channel: roomName, pub: { data: newEvent(), offset } } })

/** Bursts until the time is up, each when `roomToWrite` has resolved after the one before. */
export async function pumpBursts(
  { seconds, burst }: Pump,
  send: SendBurst,
  roomToWrite: () => Promise<void>,
): Promise<Pumped> {
  const beganUs = nowUs()
  const until = beganUs + seconds * 1_000_000
  let messages = 0
  while (nowUs() < until) {
    await send(burst)
    messages += burst
    await roomToWrite()
  }
  return { messages, beganUs }
}

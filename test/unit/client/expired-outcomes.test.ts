import { afterEach, beforeEach, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { createClient, type Client } from '../../../src/client/index.ts'
import { committed, FakeGateway, tokenOf } from './fake-gateway.ts'

let gateway: FakeGateway
let client: Client

beforeEach(async () => {
  gateway = await FakeGateway.start()
  client = createClient({
    url: gateway.url,
    getToken: () => Promise.resolve(tokenOf(gateway.user)),
    websocket: WebSocket,
    storage: null,
    minReconnectDelayMs: 1,
    maxReconnectDelayMs: 4,
    onError: () => {},
  })
})
afterEach(async () => {
  client.close()
  await gateway.close()
})

test('an operation whose outcome is not kept any more rejects with that, and is not asked for again', async () => {
  const [old, other] = [client.call('send_message', 1), client.call('send_message', 2)]
  await gateway.calls.next()
  await gateway.calls.next()
  gateway.cut()
  const question = await gateway.calls.next()
  question.reply({
    data: { outcomes: [{ outcome: 'expired', operationId: old.id }, committed(other.id).data] },
  })
  await expect(old.outcome).rejects.toMatchObject({ code: 406, reason: 'LS_OPERATION_EXPIRED' })
  expect(await other.outcome).toMatchObject({ outcome: 'committed' })
  expect(client.pending).toEqual([])
})

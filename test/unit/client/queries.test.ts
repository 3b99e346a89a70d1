import { afterEach, beforeEach, expect, test } from 'vitest'
import { ClientWorld } from './client-world.ts'

let world: ClientWorld
let gateway: ClientWorld['gateway']
let connect: ClientWorld['connect']

beforeEach(async () => {
  world = await ClientWorld.open()
  ;({ gateway, connect } = world)
})
afterEach(() => world.close())

test('a query resolves with its result and rejects with the server’s error', async () => {
  const client = connect()
  gateway.onRpc = (method, data) =>
    method === 'list' ? { data: [data] } : { error: { code: 403, message: 'LS_FORBIDDEN' } }
  expect(await client.query('list', { page: 1 })).toEqual([{ page: 1 }])
  await expect(client.query('other')).rejects.toMatchObject({ code: 403, reason: 'LS_FORBIDDEN' })
})

test('a query that is too large or not JSON is refused before it would end the connection', async () => {
  const client = connect()
  await gateway.connects.next()
  gateway.onRpc = (_method, data) => ({ data: data ?? 'none' })
  const refusals = [
    ['x'.repeat(70_000), { reason: 'LS_MESSAGE_TOO_LARGE', retryable: false }],
    [1n, { reason: 'LS_INPUT_INVALID', retryable: false }],
  ] as const
  for (const [input, refusal] of refusals) {
    await expect(client.query('list', input)).rejects.toMatchObject(refusal)
  }
  expect(await client.query('list')).toBe('none')
})

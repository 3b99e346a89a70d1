// Listeners that can never hear anything would take outcomes and notices away from the right ones: both wait for a
// listener.
import { afterEach, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { createClient } from '../../../src/client/index.ts'

const client = createClient({
  url: 'ws://127.0.0.1:1/lockstep/ws',
  getToken: () => Promise.resolve(''),
  websocket: WebSocket,
  storage: null,
  autoConnect: false,
})
const wrong = client as unknown as {
  readonly operations: { on(...given: unknown[]): void }
  readonly notices: { on(...given: unknown[]): void }
  readonly connection: { on(...given: unknown[]): void }
  channel(name: string): { on(...given: unknown[]): void; onReset(...given: unknown[]): void }
}
const listener = (): void => {}
afterEach(() => client.close())

test.each<[string, () => void, RegExp]>([
  [
    'operations.on of a name misspelt',
    () => wrong.operations.on('setled', listener),
    /"setled".*change, settled/,
  ],
  ['operations.on of another name', () => wrong.operations.on('error', listener), /"error".*change, settled/],
  ['operations.on without a listener', () => wrong.operations.on('settled'), /listener/],
  ['operations.on with an object', () => wrong.operations.on('change', {}), /listener/],
  [
    'connection.on of a name misspelt',
    () => wrong.connection.on('chnage', listener),
    /"chnage".*change, error/,
  ],
  ['connection.on without a listener', () => wrong.connection.on('error'), /listener/],
  ['notices.on without a listener', () => wrong.notices.on(), /listener/],
])('%s is refused at once', (_mistake, listen, words) => {
  expect(listen).toThrow(words)
  expect(listen).toThrow(expect.objectContaining({ reason: 'LS_CLIENT_CONFIG_INVALID' }))
})

test('a channel refuses what is no listener, too', () => {
  const other = createClient({
    url: 'ws://127.0.0.1:1/lockstep/ws',
    getToken: () => Promise.resolve(''),
    websocket: WebSocket,
    storage: null,
    autoConnect: false,
  })
  const channel = (other as unknown as typeof wrong).channel('room:1')
  expect(() => channel.on('said')).toThrow(/listener/)
  expect(() => channel.onReset('said')).toThrow(/listener/)
  other.close()
})

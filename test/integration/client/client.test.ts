import { afterAll, afterEach, beforeAll, expect, expectTypeOf, test } from 'vitest'
import { WebSocket } from 'ws'
import { z } from 'zod'
import { createClient, newOperationId, type Client, type ClientOptions } from '../../../src/client/index.ts'
import { systemClock, type Clock } from '../../../src/core/index.ts'
import { signToken, type AppOf } from '../../../src/index.ts'
import { Inbox, serve, type Served } from '../../support/sockets.ts'
import { createWorld, room, secret, type World } from '../../support/world.ts'
import { MemoryStorage } from '../../unit/client/fake-gateway.ts'

let world: World
let served: Served
let parts: ReturnType<typeof declare>
const clients: Client<App>[] = []
/** Advance of the clock that tokens are checked by. */
let tokenClockAheadMs = 0

/** Operations that end when the test says so. */
const gates = new Map<string, { readonly entered: () => void; readonly open: Promise<void> }>()

function declare({ lockstep }: World) {
  const gated = lockstep.operation('gated', {
    input: z.object({ gate: z.string(), fail: z.boolean() }),
    rollback: { userMessage: 'It was not saved.' },
    async run({ input, tx }) {
      tx.emit(room({ id: input.gate }), 'note.added', { id: input.gate, text: '' })
      gates.get(input.gate)?.entered()
      await gates.get(input.gate)?.open
      if (input.fail) throw new Error('as asked')
      return { gate: input.gate }
    },
  })
  const state = lockstep.query('state', {
    input: z.object({ room: z.string() }),
    run: (context) => context.position(room({ id: context.input.room })),
  })
  return { gated, state }
}
type App = AppOf<[typeof room, World['addNote'], (typeof parts)['gated'], (typeof parts)['state']]>

beforeAll(async () => {
  const clock: Clock = { ...systemClock, now: () => Date.now() + tokenClockAheadMs }
  world = await createWorld({ auth: { secret, clock } })
  parts = declare(world)
  served = await serve(world)
})
afterEach(() => {
  for (const client of clients.splice(0)) client.close()
  tokenClockAheadMs = 0
})
afterAll(async () => {
  await world.close()
  await served.close()
})

/** Sockets that a test can cut without a close frame, as a network does. */
class Socket extends WebSocket {
  static readonly open = new Set<Socket>()
  constructor(url: string) {
    super(url)
    Socket.open.add(this)
    this.on('close', () => Socket.open.delete(this))
  }
  static cut(): void {
    for (const socket of Socket.open) socket.terminate()
  }
}

function connect(user: string, options: Partial<ClientOptions> = {}): Client<App> {
  const client = createClient<App>({
    url: served.url,
    getToken: () => signToken(secret, user, 3_600),
    websocket: Socket,
    storage: null,
    minReconnectDelayMs: 5,
    maxReconnectDelayMs: 50,
    ...options,
  })
  clients.push(client)
  return client
}

/** A gate that `gated` waits at; `entered` resolves once the operation runs. */
function gate(name: string) {
  let open = (): void => undefined
  let enter = (): void => undefined
  const entered = new Promise<void>((resolve) => (enter = resolve))
  gates.set(name, { entered: enter, open: new Promise<void>((resolve) => (open = resolve)) })
  return { entered, open: () => open() }
}

const note = (roomId: string, text = 'hi') => ({ room: roomId, id: newOperationId(), text })

test('an operation commits, and its event arrives at the position it names', async () => {
  const client = connect('ann')
  const channel = client.channel('room:commit')
  const inbox = new Inbox<{ readonly offset: number | undefined; readonly operationId: string }>()
  channel.on('note.added', (data, event) => {
    expectTypeOf(data).toEqualTypeOf<{ id: string; text: string }>()
    inbox.push(event)
  })
  await channel.ready()
  const call = client.call('add_note', note('commit'))
  const outcome = await call.outcome
  expect(outcome).toMatchObject({ outcome: 'committed', positions: { 'room:commit': { offset: 1 } } })
  await inbox.until((events) => events.length === 1)
  expect(inbox.items[0]).toMatchObject({ operationId: call.id, offset: 1, committed: true })
})

test('a rollback is an outcome and one notice, on every screen of its user', async () => {
  const [here, there] = [connect('rob'), connect('rob')]
  const [atHere, atThere] = [new Inbox<string>(), new Inbox<string>()]
  here.notices.on(({ transactionId }) => atHere.push(transactionId))
  there.notices.on(({ transactionId }) => atThere.push(transactionId))
  await there.query('state', { room: 'x' })
  const call = here.call('add_note', { ...note('rollback'), fail: true })
  expect(await call.outcome).toMatchObject({
    outcome: 'rolled_back',
    notice: { transactionId: call.id, userMessage: 'Your note was not saved.' },
  })
  await atThere.until((ids) => ids.length === 1)
  // The durable notice has arrived by the time a later call is answered.
  const later = here.call('add_note', { ...note('rollback'), fail: true })
  await later.outcome
  await atHere.until((ids) => ids.includes(later.id))
  expect(atHere.items).toEqual([call.id, later.id])
})

test.each([false, true])('a reply lost with the connection is found out (fails: %s)', async (fail) => {
  const client = connect('cut')
  const name = `cut-${String(fail)}`
  const { entered, open } = gate(name)
  const call = client.call('gated', { gate: name, fail })
  await entered
  Socket.cut()
  const reconnected = new Promise<void>((resolve) => {
    client.connection.on('change', (state) => {
      if (state === 'connected') resolve()
    })
  })
  await reconnected
  open()
  expect((await call.outcome).outcome).toBe(fail ? 'rolled_back' : 'committed')
  expect(client.pending).toEqual([])
})

test('a page that was reloaded in the middle learns the outcome, once', async () => {
  const storage = new MemoryStorage()
  const before = connect('reload', { storage })
  const { entered, open } = gate('reload')
  const call = before.call('gated', { gate: 'reload', fail: false })
  await entered
  before.close()
  await expect(call.outcome).rejects.toMatchObject({ reason: 'LS_CLIENT_CLOSED' })
  const after = connect('reload', { storage })
  const settled = new Inbox<unknown>()
  after.operations.on('settled', ({ id }, { outcome }) => settled.push([id, outcome]))
  open()
  await settled.until((all) => all.length === 1)
  expect(settled.items).toEqual([[call.id, 'committed']])
  expect(storage.length).toBe(0)
})

test('an operation that never reached a server is answered so, and stays without effect', async () => {
  const storage = new MemoryStorage()
  const before = connect('never', { storage, user: 'never', autoConnect: false })
  const input = note('never')
  const call = before.call('add_note', input)
  before.close()
  await expect(call.outcome).rejects.toMatchObject({ reason: 'LS_CLIENT_CLOSED' })
  const after = connect('never', { storage })
  const settled = new Inbox<string>()
  after.operations.on('settled', (_, { outcome }) => settled.push(outcome))
  await settled.until((all) => all.length === 1)
  expect(settled.items).toEqual(['never_received'])
  const late = after.call('add_note', input, { id: call.id })
  expect(await late.outcome).toMatchObject({ outcome: 'rolled_back' })
  expect(await world.rows('select 1 from notes where id = $1', [input.id])).toEqual([])
})

test('events missed while away arrive in order, and a state is loaded once with its position', async () => {
  const client = connect('away')
  const writer = connect('writer')
  await writer.call('add_note', note('away', '1')).outcome
  let loads = 0
  const channel = client.channel('room:away', {
    getState: () => {
      loads += 1
      return client.query('state', { room: 'away' })
    },
  })
  const inbox = new Inbox<string>()
  channel.on('note.added', ({ text }) => inbox.push(text))
  await channel.ready()
  client.connection.disconnect()
  for (const text of ['2', '3', '4']) await writer.call('add_note', note('away', text)).outcome
  client.connection.connect()
  await inbox.until((texts) => texts.length === 3)
  await writer.call('add_note', note('away', '5')).outcome
  await inbox.until((texts) => texts.length === 4)
  expect(inbox.items).toEqual(['2', '3', '4', '5'])
  expect(loads).toBe(1)
})

test('events that are no longer kept load the state again', async () => {
  const client = connect('trimmed')
  const inbox = new Inbox<string>()
  const channel = client.channel('room:trimmed', {
    getState: () => {
      inbox.push('load')
      return client.query('state', { room: 'trimmed' })
    },
  })
  channel.onReset(() => inbox.push('reset'))
  channel.on('note.added', ({ text }) => inbox.push(text))
  await channel.ready()
  client.connection.disconnect()
  await connect('writer').call('add_note', note('trimmed', 'lost')).outcome
  await connect('writer').call('add_note', note('trimmed', 'lost')).outcome
  await world.rows(`delete from lockstep.events where channel = 'room:trimmed' and "offset" = 1`)
  client.connection.connect()
  await inbox.until((items) => items.length === 3)
  await channel.ready()
  await connect('writer').call('add_note', note('trimmed', 'new')).outcome
  await inbox.until((items) => items.length === 4)
  expect(inbox.items).toEqual(['load', 'reset', 'load', 'new'])
})

test('a channel the user may not hear says so', async () => {
  const channel = connect('nosy').channel('room:private')
  await expect(channel.ready()).rejects.toMatchObject({ code: 103, reason: 'LS_CHANNEL_FORBIDDEN' })
})

test('what the server does not accept rejects with its code', async () => {
  const client = connect('wrong')
  const call = client.call('add_note', { ...note('wrong'), text: 'x'.repeat(2_000) })
  await expect(call.outcome).rejects.toMatchObject({
    code: 400,
    reason: 'LS_INPUT_INVALID',
    retryable: false,
  })
  const unknown = (client as unknown as Client).call('no_such_operation', {})
  await expect(unknown.outcome).rejects.toMatchObject({ code: 104 })
})

test('a token that ran out while away is replaced', async () => {
  let asked = 0
  const errors: unknown[] = []
  const client = connect('expiring', {
    onError: (error) => errors.push(error),
    getToken: () => {
      asked += 1
      return signToken(secret, 'expiring', asked === 1 ? 60 : 3_600)
    },
  })
  await client.query('state', { room: 'x' })
  const states = new Inbox<string>()
  client.connection.on('change', states.push)
  client.connection.disconnect()
  tokenClockAheadMs = 120_000
  client.connection.connect()
  await states.until((all) => all.includes('connected'))
  expect(asked).toBe(2)
  expect(errors).toEqual([])
})

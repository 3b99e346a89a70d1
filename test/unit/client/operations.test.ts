import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { limits } from '../../../src/protocol/index.ts'
import { pendingLimits } from '../../../src/client/open-operations.ts'
import { ClientWorld } from './client-world.ts'
import { committed } from './fake-gateway.ts'

let world: ClientWorld
let gateway: ClientWorld['gateway']
let connect: ClientWorld['connect']

beforeEach(async () => {
  world = await ClientWorld.open()
  ;({ gateway, connect } = world)
})
afterEach(() => world.close())

const never = (id: string) => ({ outcome: 'never_received', operationId: id })

describe('an operation', () => {
  test('is sent with its id and resolves with what the reply says', async () => {
    const client = connect()
    const call = client.call('send_message', { text: 'hi' })
    const rpc = await gateway.calls.next()
    expect(rpc.method).toBe('send_message')
    expect(rpc.data).toStrictEqual({ id: call.id, input: { text: 'hi' } })
    expect(call.id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
    expect(client.pending).toMatchObject([{ id: call.id, name: 'send_message', state: 'sent' }])
    rpc.reply(committed(call.id, 7))
    expect(await call.outcome).toMatchObject({ outcome: 'committed', operationId: call.id, result: 7 })
    expect(client.pending).toEqual([])
  })

  test('beyond the bytes that may wait is refused, those that wait stay, and there is room when one has its outcome', async () => {
    const client = connect({ autoConnect: false })
    const input = '€'.repeat(20_000)
    const most = Math.floor(pendingLimits.maxPendingBytes / (3 * 20_000 + 2))
    const first = client.call('send_message', input)
    for (let count = 1; count < most; count++) client.call('send_message', input)
    const refused = client.call('send_message', input).outcome
    await expect(refused).rejects.toMatchObject({ reason: 'LS_CLIENT_QUEUE_FULL', retryable: true })
    expect(client.pending).toHaveLength(most)
    client.connection.connect()
    ;(await gateway.calls.next()).reply(committed(first.id))
    await first.outcome
    const again = client.call('send_message', input)
    expect(client.pending.at(-1)).toMatchObject({ id: again.id })
  })

  test('that was called before there is a connection is queued, then sent once', async () => {
    const client = connect({ autoConnect: false })
    const call = client.call('send_message', 1)
    expect(client.pending).toMatchObject([{ state: 'queued' }])
    client.connection.connect()
    const rpc = await gateway.calls.next()
    rpc.reply(committed(call.id))
    await call.outcome
    expect(gateway.calls.all.map(({ method }) => method)).toEqual(['send_message'])
  })

  test('whose reply is lost with the connection is asked for, not sent again', async () => {
    const client = connect()
    const call = client.call('send_message', 1)
    await gateway.calls.next()
    gateway.cut()
    const question = await gateway.calls.next()
    expect(question).toMatchObject({ method: 'lockstep.outcomes', data: { ids: [call.id] } })
    question.reply({ data: { outcomes: [{ outcome: 'pending', operationId: call.id }] } })
    const again = await gateway.calls.next()
    expect(again).toMatchObject({ method: 'lockstep.outcomes' })
    again.reply({ data: { outcomes: [committed(call.id, 'kept').data] } })
    expect(await call.outcome).toMatchObject({ outcome: 'committed', result: 'kept' })
    expect(client.pending).toEqual([])
  })

  test('whose reply does not come in time is asked for, and one the server never saw is reported as such', async () => {
    const client = connect({ timeoutMs: 50 })
    const call = client.call('send_message', 1)
    await gateway.calls.next()
    const question = await gateway.calls.next()
    expect(question.method).toBe('lockstep.outcomes')
    question.reply({ data: { outcomes: [never(call.id)] } })
    expect(await call.outcome).toEqual(never(call.id))
  })

  test.each([100, 404])('answered by error %i is asked for', async (code) => {
    const client = connect()
    const call = client.call('send_message', 1)
    ;(await gateway.calls.next()).reply({ error: { code, message: 'LS_OUTCOME_PENDING' } })
    const question = await gateway.calls.next()
    question.reply({ data: { outcomes: [committed(call.id).data] } })
    expect(await call.outcome).toMatchObject({ outcome: 'committed' })
  })

  test('rolled back while the database was away is reported at once, once, and asked for until its id is closed', async () => {
    const client = connect()
    const settled: unknown[] = []
    client.operations.on('settled', (operation, outcome) => settled.push([operation.id, outcome.outcome]))
    const notices: unknown[] = []
    client.notices.on((notice) => notices.push(notice.transactionId))
    const call = client.call('send_message', 1)
    const notice = {
      transactionId: call.id,
      failedOperation: 'send_message',
      errorMessage: 'The database cannot be reached right now. Try again in a moment.',
      errorCode: 'LS_DATABASE_UNREACHABLE',
      affectedLayers: ['database'],
      recoveryActions: ['retry'],
      userMessage: 'Not saved.',
    }
    const answer = (transient: boolean) => ({
      outcome: 'rolled_back',
      operationId: call.id,
      notice: transient ? { ...notice, transient } : notice,
    })
    ;(await gateway.calls.next()).reply({ data: answer(true) })
    expect(await call.outcome).toMatchObject({ outcome: 'rolled_back' })
    const first = await gateway.calls.next()
    expect(first).toMatchObject({ method: 'lockstep.outcomes', data: { ids: [call.id] } })
    first.reply({ error: { code: 100, message: 'LS_DATABASE_UNREACHABLE' } })
    ;(await gateway.calls.next()).reply({ data: { outcomes: [answer(false)] } })
    // The answer to a later query comes behind the last one, which has been handled by then.
    gateway.onRpc = () => ({ data: 'pong' })
    expect(await client.query('ping', 1)).toBe('pong')
    expect(settled).toEqual([[call.id, 'rolled_back']])
    expect(notices).toEqual([call.id])
  })

  test('beyond what one connection may have open waits for its turn', async () => {
    const most = limits.maxOutstandingCalls
    const client = connect()
    const calls = Array.from({ length: most + 6 }, () => client.call('send_message', 1))
    const sent = []
    for (let count = 0; count < most; count += 1) sent.push(await gateway.calls.next())
    expect(client.pending.filter(({ state }) => state === 'queued')).toHaveLength(6)
    gateway.onRpc = (_, data) => committed((data as { id: string }).id)
    for (const [index, rpc] of sent.entries()) rpc.reply(committed(calls[index]?.id ?? ''))
    const outcomes = await Promise.all(calls.map(({ outcome }) => outcome))
    expect(outcomes.every(({ outcome }) => outcome === 'committed')).toBe(true)
  })

  test.each([
    [400, 'LS_INPUT_INVALID: text is required'],
    [403, 'LS_FORBIDDEN'],
    [104, 'LS_CHANNEL_UNKNOWN'],
    [402, 'LS_OPERATION_ID_REUSED'],
  ])('refused with %i rejects', async (code, message) => {
    const call = connect().call('send_message', 1)
    ;(await gateway.calls.next()).reply({ error: { code, message } })
    const reason = message.split(':')[0]
    await expect(call.outcome).rejects.toMatchObject({
      name: 'LockstepClientError',
      code,
      reason,
      retryable: false,
    })
  })

  test('whose answer was too large is not taken for refused', async () => {
    const call = connect().call('send_message', 1)
    ;(await gateway.calls.next()).reply({ error: { code: 106, message: 'the answer is too large to send' } })
    const question = await gateway.calls.next()
    expect(question.method).toBe('lockstep.outcomes')
    question.reply({ error: { code: 106, message: 'the answer is too large to send' } })
    await expect(call.outcome).rejects.toMatchObject({ code: 106, reason: undefined })
  })

  test('whose answer was too large in the words of the catalogue is not taken for refused', async () => {
    const call = connect().call('send_message', 1)
    ;(await gateway.calls.next()).reply({ error: { code: 106, message: 'LS_ANSWER_TOO_LARGE: Too large.' } })
    const question = await gateway.calls.next()
    question.reply({ data: { outcomes: [committed(call.id).data] } })
    await expect(call.outcome).resolves.toMatchObject({ outcome: 'committed' })
  })

  test('that meets "not now" is sent again with the same id, six times in all', async () => {
    gateway.onRpc = () => undefined
    const first = connect().call('send_message', 1)
    ;(await gateway.calls.next()).reply({ error: { code: 405, message: 'LS_NODE_STOPPING' } })
    const second = await gateway.calls.next()
    expect(second.data).toStrictEqual({ id: first.id, input: 1, repeat: true })
    second.reply(committed(first.id))
    await first.outcome

    let sent = 0
    gateway.onRpc = () => {
      sent += 1
      return { error: { code: 111, message: 'too many requests' } }
    }
    const refused = connect().call('send_message', 1)
    await expect(refused.outcome).rejects.toMatchObject({ code: 111, retryable: true })
    expect(sent).toBe(6)
  })

  test('that the server has no room for is sent again until it has, with the same id, after the pause it asks for', async () => {
    const refusals = 10
    const sentAt: number[] = []
    gateway.onRpc = (_, data) => {
      sentAt.push(performance.now())
      if (sentAt.length > refusals) return committed((data as { id: string }).id)
      return { error: { code: 111, message: 'LS_NODE_OVERLOADED: Too much to do. Retry after 40 ms.' } }
    }
    const { id, outcome } = connect().call('send_message', 1)
    expect(await outcome).toMatchObject({ outcome: 'committed', operationId: id })
    expect(sentAt.length).toBe(refusals + 1)
    for (const [n, at] of sentAt.slice(1).entries()) expect(at - (sentAt[n] ?? 0)).toBeGreaterThan(30)
  })

  test('of many that the server has no room for, fewer are sent at once from then on, and none is lost', async () => {
    const [calls, room] = [200, 40]
    let [open, most, refused] = [0, 0, 0]
    gateway.onRpc = () => undefined
    const client = connect()
    const outcomes = Array.from({ length: calls }, (_, n) => client.call('send_message', n).outcome)
    const serve = async (): Promise<void> => {
      for (let served = 0; served < calls;) {
        const call = await gateway.calls.next()
        if (open >= room) {
          refused += 1
          call.reply({
            error: { code: 111, message: 'LS_NODE_OVERLOADED: Too much to do. Retry after 20 ms.' },
          })
          continue
        }
        open += 1
        served += 1
        most = Math.max(most, open)
        setImmediate(() => {
          open -= 1
          call.reply(committed((call.data as { id: string }).id))
        })
      }
    }
    await serve()
    await Promise.all(outcomes)
    // The calls were sent once each, and by far not all of the refused ones a second time too early.
    expect(refused).toBeLessThan(2 * calls)
  })

  test('called anew with the id of a call that has ended is sent as a repeat', async () => {
    const client = connect()
    const { id, outcome } = client.call('send_message', 1)
    ;(await gateway.calls.next()).reply({ error: { code: 403, message: 'LS_FORBIDDEN' } })
    await expect(outcome).rejects.toMatchObject({ reason: 'LS_FORBIDDEN' })
    const again = client.call('send_message', 1, { id })
    const rpc = await gateway.calls.next()
    expect(rpc.data).toStrictEqual({ id, input: 1, repeat: true })
    rpc.reply(committed(id))
    await again.outcome
  })

  test('that lost its connection before it was sent is no repeat', async () => {
    const client = connect()
    await gateway.connects.next()
    const call = client.call('send_message', 1)
    client.connection.disconnect()
    client.connection.connect()
    const rpc = await gateway.calls.next()
    expect(rpc.data).toStrictEqual({ id: call.id, input: 1 })
    rpc.reply(committed(call.id))
    await call.outcome
  })

  test('too large or not JSON is refused before it would end the connection', async () => {
    const client = connect()
    await expect(client.call('send_message', 'x'.repeat(70_000)).outcome).rejects.toMatchObject({
      reason: 'LS_MESSAGE_TOO_LARGE',
    })
    await expect(client.call('send_message', 1n).outcome).rejects.toMatchObject({
      reason: 'LS_INPUT_INVALID',
    })
    await expect(client.call('send_message', 1, { id: 'A' }).outcome).rejects.toMatchObject({
      reason: 'LS_OPERATION_ID_INVALID',
    })
    expect(client.pending).toEqual([])
  })

  test('can be withdrawn while queued only', async () => {
    const client = connect({ autoConnect: false })
    const controller = new AbortController()
    const queued = client.call('send_message', 1, { signal: controller.signal })
    controller.abort()
    await expect(queued.outcome).rejects.toMatchObject({ reason: 'LS_CLIENT_CANCELLED' })

    const later = new AbortController()
    const sent = client.call('send_message', 2, { signal: later.signal })
    client.connection.connect()
    const rpc = await gateway.calls.next()
    later.abort()
    rpc.reply(committed(sent.id))
    expect(await sent.outcome).toMatchObject({ outcome: 'committed' })
  })

  test('is asked for again no sooner than the server has said', async () => {
    const client = connect()
    const call = client.call('send_message', 1)
    const sent = await gateway.calls.next()
    sent.reply({ error: { code: 404, message: 'LS_OUTCOME_PENDING: pending' } })
    const first = await gateway.calls.next()
    const answeredAt = performance.now()
    const pending = { outcome: 'pending', operationId: call.id, retryAfterMs: 700 }
    first.reply({ data: { outcomes: [pending] } })
    const second = await gateway.calls.next()
    expect(second.method).toBe('lockstep.outcomes')
    expect(performance.now() - answeredAt).toBeGreaterThanOrEqual(690)
    second.reply({ data: { outcomes: [never(call.id)] } })
    expect(await call.outcome).toMatchObject({ outcome: 'never_received' })
  })

  test('called twice with one id while pending is one call', async () => {
    const client = connect()
    const first = client.call('send_message', 1)
    const second = client.call('send_message', 1, { id: first.id })
    ;(await gateway.calls.next()).reply(committed(first.id))
    expect(await second.outcome).toBe(await first.outcome)
    expect(gateway.calls.all).toHaveLength(1)
  })

  test('without an outcome rejects when the client is closed', async () => {
    const client = connect()
    const call = client.call('send_message', 1)
    await gateway.calls.next()
    client.close()
    await expect(call.outcome).rejects.toMatchObject({ reason: 'LS_CLIENT_CLOSED' })
    await expect(client.call('send_message', 1).outcome).rejects.toMatchObject({ reason: 'LS_CLIENT_CLOSED' })
  })
})

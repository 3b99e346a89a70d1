import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { WebSocket } from 'ws'
import { createClient, newOperationId, type Client } from '../../../src/client/index.ts'
import { Browser, crashed, lost } from './browser.ts'
import { committed, noticeFor, Queue, tokenOf } from './fake-gateway.ts'

let browser: Browser

beforeEach(async () => {
  browser = await Browser.start()
})
afterEach(() => browser.close())

describe('operations of an earlier page', () => {
  test('are reported once, when somebody listens', async () => {
    const before = browser.tab()
    const call = before.call('send_message', { text: 'hi' })
    await browser.gateway.calls.next()
    expect(browser.storage.length).toBe(1)
    before.close()
    await expect(call.outcome).rejects.toMatchObject({ reason: 'LS_CLIENT_CLOSED' })

    const after = browser.tab()
    const question = await browser.gateway.calls.next()
    expect(question).toMatchObject({ method: 'lockstep.outcomes', data: { ids: [call.id] } })
    expect(after.pending).toMatchObject([{ id: call.id, state: 'unknown', input: { text: 'hi' } }])
    const changed = new Queue<number>()
    after.operations.on('change', (pending) => changed.push(pending.length))
    question.reply({ data: { outcomes: [committed(call.id, 'yes').data] } })
    expect(await changed.next()).toBe(0)
    // The outcome has had no listener yet, so a further reload would still find the call.
    expect(browser.storage.length).toBe(1)
    const settled = new Queue<unknown>()
    after.operations.on('settled', (operation, outcome) => settled.push([operation.name, outcome]))
    expect(await settled.next()).toMatchObject(['send_message', { outcome: 'committed', result: 'yes' }])
    expect(browser.storage.length).toBe(0)
    after.operations.on('settled', () => settled.push('again'))
    await browser.quiet(after)
    expect(settled.all).toHaveLength(1)
  })

  test('that were rolled back reach the notices', async () => {
    browser.leave('ann', lost)
    const client = browser.tab()
    const notices = new Queue<string>()
    const question = await browser.gateway.calls.next()
    question.reply({
      data: { outcomes: [{ outcome: 'rolled_back', operationId: lost, notice: noticeFor(lost) }] },
    })
    await browser.quiet(client)
    client.notices.on(({ transactionId }) => notices.push(transactionId))
    expect(await notices.next()).toBe(lost)
    expect([...browser.storage.map.keys()]).toEqual(['lockstep:ann:notices'])
  })

  test('of another user are neither asked for nor removed', async () => {
    browser.leave('bob', lost)
    const client = browser.tab()
    await browser.quiet(client)
    expect(browser.asked()).toEqual([])
    expect(client.pending).toEqual([])
    expect(browser.storage.length).toBe(1)
  })

  test('of a user with the same name in another tenant are neither shown, asked for nor removed', async () => {
    const signIn = (tenant: string): Client => {
      browser.gateway.user = `${tenant}|ann`
      return browser.tab({ getToken: () => Promise.resolve(tokenOf('ann', tenant)) })
    }
    const before = signIn('acme')
    const call = before.call('send_message', { text: 'of acme' })
    call.outcome.catch(() => undefined)
    await browser.gateway.calls.next()
    before.close()

    const other = signIn('umbrella')
    await browser.quiet(other)
    expect(browser.asked()).toEqual([])
    expect(other.pending).toEqual([])
    other.close()

    signIn('acme')
    await expect.poll(() => browser.asked()).toEqual([{ ids: [call.id] }])
  })

  test('that are not what the client wrote are left alone', async () => {
    browser.storage.setItem('lockstep:ann:x', 'not json')
    browser.storage.setItem('lockstep:ann:y', JSON.stringify({ id: 'y', name: 'n' }))
    browser.storage.setItem(`lockstep:ann:${crashed}`, JSON.stringify({ id: lost, name: 'n' }))
    browser.storage.setItem('unrelated', '1')
    await browser.quiet(browser.tab())
    expect(browser.asked()).toEqual([])
    expect(browser.storage.length).toBe(4)
  })

  test('that are older than what servers remember are forgotten, not asked for', async () => {
    browser.leave('ann', lost, { startedAt: Date.now() - 7 * 24 * 60 * 60 * 1_000 })
    await browser.quiet(browser.tab())
    expect(browser.asked()).toEqual([])
    expect(browser.storage.length).toBe(0)
  })

  test('are asked for a hundred at a time', async () => {
    const ids = Array.from({ length: 150 }, () => newOperationId())
    for (const id of ids) browser.leave('ann', id)
    const sizes: number[] = []
    browser.gateway.onRpc = (_, data) => {
      const asking = (data as { ids: string[] }).ids
      sizes.push(asking.length)
      return { data: { outcomes: asking.map((id) => committed(id).data) } }
    }
    const settled = new Queue<string>()
    browser.tab().operations.on('settled', ({ id }) => settled.push(id))
    for (const id of ids) expect(await settled.next()).toBe(id)
    expect(sizes).toEqual([100, 50])
  })

  test('that the server will not answer for do not hold up the others', async () => {
    browser.leave('ann', lost)
    browser.leave('ann', crashed)
    browser.gateway.onRpc = (_, data) => {
      const { ids } = data as { ids: string[] }
      if (ids.includes(lost)) return { error: { code: 403, message: 'LS_FORBIDDEN' } }
      return { data: { outcomes: ids.map((id) => committed(id).data) } }
    }
    const errors = new Queue<unknown>()
    const settled = new Queue<string>()
    const client = browser.tab({ onError: (error) => errors.push(error) })
    client.operations.on('settled', ({ id }) => settled.push(id))
    expect(await settled.next()).toBe(crashed)
    expect(await errors.next()).toMatchObject({ reason: 'LS_FORBIDDEN' })
    expect(browser.storage.length).toBe(0)
  })

  test('can be joined by calling with their id', async () => {
    browser.leave('ann', lost)
    const client = browser.tab()
    const question = await browser.gateway.calls.next()
    const call = client.call('send_message', null, { id: lost })
    question.reply({ data: { outcomes: [committed(lost, 1).data] } })
    expect(await call.outcome).toMatchObject({ result: 1 })
  })
})

describe('a storage that fails', () => {
  const broken = (): never => {
    throw new Error('QuotaExceededError')
  }

  test('does not break a call', async () => {
    vi.spyOn(browser.storage, 'setItem').mockImplementation(broken)
    vi.spyOn(browser.storage, 'getItem').mockImplementation(broken)
    vi.spyOn(browser.storage, 'removeItem').mockImplementation(broken)
    vi.spyOn(browser.storage, 'key').mockImplementation(broken)
    const call = browser.tab().call('send_message', 1)
    ;(await browser.gateway.calls.next()).reply(committed(call.id))
    expect(await call.outcome).toMatchObject({ outcome: 'committed' })
  })

  test('that is full hides no outcome of an earlier page, and reports it once', async () => {
    browser.leave('ann', lost, { owner: '' })
    vi.spyOn(browser.storage, 'setItem').mockImplementation(broken)
    const client = browser.tab()
    const settled = new Queue<unknown>()
    client.operations.on('settled', ({ id }, { outcome }) => settled.push([id, outcome]))
    const question = await browser.gateway.calls.next()
    question.reply({ data: { outcomes: [committed(lost).data] } })
    expect(await settled.next()).toEqual([lost, 'committed'])
    expect(browser.storage.length).toBe(0)
    await browser.quiet(browser.tab())
    expect(browser.asked()).toHaveLength(1)
  })

  test('that cannot even be read is as good as none', async () => {
    vi.stubGlobal('localStorage', undefined)
    Object.defineProperty(globalThis, 'localStorage', { configurable: true, get: broken })
    const client = createClient({
      url: browser.gateway.url,
      getToken: () => Promise.resolve('opaque'),
      websocket: WebSocket,
    })
    browser.clients.push(client)
    const call = client.call('send_message', 1)
    ;(await browser.gateway.calls.next()).reply(committed(call.id))
    expect(await call.outcome).toMatchObject({ outcome: 'committed' })
  })
})

test('an operation is stored before it is sent, under the user the token names', async () => {
  let atSending: string[] = []
  browser.gateway.onRpc = () => {
    atSending = [...browser.storage.map.keys()]
    return undefined
  }
  const call = browser.tab().call('send_message', 1)
  const rpc = await browser.gateway.calls.next()
  expect(atSending).toEqual([`lockstep:ann:${call.id}`])
  rpc.reply(committed(call.id))
  await call.outcome
  expect(browser.storage.length).toBe(0)
})

test('what a closed client left to the next is not withdrawn by its signal any more', async () => {
  const withdrawn = new AbortController()
  const before = browser.tab({ autoConnect: false, user: 'ann' })
  const call = before.call('send_message', 1, { signal: withdrawn.signal })
  before.close()
  withdrawn.abort()
  await expect(call.outcome).rejects.toMatchObject({ reason: 'LS_CLIENT_CLOSED' })
  browser.tab()
  expect(await browser.gateway.calls.next()).toMatchObject({ data: { ids: [call.id] } })
})

test('an opaque token leaves it to the server to name the user', async () => {
  const call = browser.tab({ getToken: () => Promise.resolve('opaque') }).call('send_message', 1)
  const rpc = await browser.gateway.calls.next()
  expect([...browser.storage.map.keys()]).toEqual([`lockstep:ann:${call.id}`])
  rpc.reply(committed(call.id))
  await call.outcome
})

import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { WebSocket } from 'ws'
import { createClient, newOperationId, type Client, type ClientOptions } from '../../src/client/index.ts'
import { committed, FakeGateway, MemoryStorage, noticeFor, Queue, tokenOf } from './client-fake-gateway.ts'

let gateway: FakeGateway
let storage: MemoryStorage
const clients: Client[] = []

beforeEach(async () => {
  gateway = await FakeGateway.start()
  storage = new MemoryStorage()
})
afterEach(async () => {
  for (const client of clients.splice(0)) client.close()
  await gateway.close()
  vi.unstubAllGlobals()
})

function tab(options: Partial<ClientOptions> = {}): Client {
  const client = createClient({
    url: gateway.url,
    getToken: () => Promise.resolve(tokenOf(gateway.user)),
    websocket: WebSocket,
    storage,
    minReconnectDelayMs: 1,
    maxReconnectDelayMs: 4,
    ...options,
  })
  clients.push(client)
  return client
}

const lost = '019a0000-0000-7000-8000-00000000000a'
const crashed = '019a0000-0000-7000-8000-00000000000b'

/** Resolves when everything the client had to ask on connecting has been asked. */
async function quiet(client: Client): Promise<void> {
  const rpc = client.query('lockstep.test.quiet').catch(() => undefined)
  await vi.waitFor(() => expect(gateway.calls.all.some(({ method }) => method.endsWith('quiet'))).toBe(true))
  for (const call of gateway.calls.all) if (call.method.endsWith('quiet')) call.reply({ data: null })
  await rpc
}

function asked(): unknown[] {
  return gateway.calls.all.filter(({ method }) => method === 'lockstep.outcomes').map(({ data }) => data)
}

/** What a page that died in the middle leaves behind. */
function leave(user: string, id: string, more: object = {}): void {
  const entry = {
    id,
    name: 'send_message',
    input: { text: 'hi' },
    startedAt: Date.now(),
    owner: 'gone',
    seenAt: 0,
    ...more,
  }
  storage.setItem(`lockstep:${user}:${id}`, JSON.stringify(entry))
}

describe('operations of an earlier page', () => {
  test('are reported once, when somebody listens', async () => {
    const before = tab()
    const call = before.call('send_message', { text: 'hi' })
    await gateway.calls.next()
    expect(storage.length).toBe(1)
    before.close()
    await expect(call.outcome).rejects.toMatchObject({ reason: 'LS_CLIENT_CLOSED' })

    const after = tab()
    const question = await gateway.calls.next()
    expect(question).toMatchObject({ method: 'lockstep.outcomes', data: { ids: [call.id] } })
    expect(after.pending).toMatchObject([{ id: call.id, state: 'unknown', input: { text: 'hi' } }])
    const changed = new Queue<number>()
    after.operations.on('change', (pending) => changed.push(pending.length))
    question.reply({ data: { outcomes: [committed(call.id, 'yes').data] } })
    expect(await changed.next()).toBe(0)
    // Nobody has heard of it yet, so a further reload would still find it.
    expect(storage.length).toBe(1)
    const settled = new Queue<unknown>()
    after.operations.on('settled', (operation, outcome) => settled.push([operation.name, outcome]))
    expect(await settled.next()).toMatchObject(['send_message', { outcome: 'committed', result: 'yes' }])
    expect(storage.length).toBe(0)
    after.operations.on('settled', () => settled.push('again'))
    await quiet(after)
    expect(settled.all).toHaveLength(1)
  })

  test('that were rolled back reach the notices', async () => {
    leave('ann', lost)
    const client = tab()
    const notices = new Queue<string>()
    const question = await gateway.calls.next()
    question.reply({
      data: { outcomes: [{ outcome: 'rolled_back', operationId: lost, notice: noticeFor(lost) }] },
    })
    await quiet(client)
    client.notices.on(({ transactionId }) => notices.push(transactionId))
    expect(await notices.next()).toBe(lost)
    expect(storage.length).toBe(0)
  })

  test('of another user are neither asked for nor removed', async () => {
    leave('bob', lost)
    const client = tab()
    await quiet(client)
    expect(asked()).toEqual([])
    expect(client.pending).toEqual([])
    expect(storage.length).toBe(1)
  })

  test('that are not what the client wrote are left alone', async () => {
    storage.setItem('lockstep:ann:x', 'not json')
    storage.setItem('lockstep:ann:y', JSON.stringify({ id: 'y', name: 'n' }))
    storage.setItem(`lockstep:ann:${crashed}`, JSON.stringify({ id: lost, name: 'n' }))
    storage.setItem('unrelated', '1')
    await quiet(tab())
    expect(asked()).toEqual([])
    expect(storage.length).toBe(4)
  })

  test('that are older than what servers remember are forgotten, not asked for', async () => {
    leave('ann', lost, { startedAt: Date.now() - 7 * 24 * 60 * 60 * 1_000 })
    await quiet(tab())
    expect(asked()).toEqual([])
    expect(storage.length).toBe(0)
  })

  test('are asked for a hundred at a time', async () => {
    const ids = Array.from({ length: 150 }, () => newOperationId())
    for (const id of ids) leave('ann', id)
    const sizes: number[] = []
    gateway.onRpc = (_, data) => {
      const asking = (data as { ids: string[] }).ids
      sizes.push(asking.length)
      return { data: { outcomes: asking.map((id) => committed(id).data) } }
    }
    const settled = new Queue<string>()
    tab().operations.on('settled', ({ id }) => settled.push(id))
    for (const id of ids) expect(await settled.next()).toBe(id)
    expect(sizes).toEqual([100, 50])
  })

  test('that the server will not answer for do not hold up the others', async () => {
    leave('ann', lost)
    leave('ann', crashed)
    gateway.onRpc = (_, data) => {
      const { ids } = data as { ids: string[] }
      if (ids.includes(lost)) return { error: { code: 403, message: 'LS_FORBIDDEN' } }
      return { data: { outcomes: ids.map((id) => committed(id).data) } }
    }
    const errors = new Queue<unknown>()
    const settled = new Queue<string>()
    const client = tab({ onError: (error) => errors.push(error) })
    client.operations.on('settled', ({ id }) => settled.push(id))
    expect(await settled.next()).toBe(crashed)
    expect(await errors.next()).toMatchObject({ reason: 'LS_FORBIDDEN' })
    expect(storage.length).toBe(0)
  })

  test('can be joined by calling with their id', async () => {
    leave('ann', lost)
    const client = tab()
    const question = await gateway.calls.next()
    const call = client.call('send_message', null, { id: lost })
    question.reply({ data: { outcomes: [committed(lost, 1).data] } })
    expect(await call.outcome).toMatchObject({ result: 1 })
  })
})

describe('an operation of another living tab', () => {
  test('is not asked for while its heartbeat is fresh', async () => {
    leave('ann', lost, { owner: 'other', seenAt: Date.now() - 60_000 })
    await quiet(tab())
    expect(asked()).toEqual([])
  })

  test('is asked for once the tab has been silent for longer than a throttled one', async () => {
    leave('ann', lost, { owner: 'other', seenAt: Date.now() - 91_000 })
    tab()
    expect(await gateway.calls.next()).toMatchObject({ data: { ids: [lost] } })
  })

  test('queued there is not closed from here, and is sent there in the end', async () => {
    const other = tab({ autoConnect: false, user: 'ann' })
    const call = other.call('send_message', 1)
    await quiet(tab())
    expect(asked()).toEqual([])
    other.connection.connect()
    await vi.waitFor(() => expect(gateway.calls.all.at(-1)).toMatchObject({ method: 'send_message' }))
    gateway.calls.all.at(-1)?.reply(committed(call.id))
    expect(await call.outcome).toMatchObject({ outcome: 'committed' })
    expect(storage.length).toBe(0)
  })

  test('with Web Locks is asked for as soon as its tab is gone, also by a crash', async () => {
    const locks = new FakeLocks()
    vi.stubGlobal('navigator', { locks })
    const holder = tab()
    const kept = holder.call('send_message', 1)
    const rpc = await gateway.calls.next()
    expect(locks.held.size).toBe(1)
    // Old enough not to be spared for being new.
    leave('ann', crashed, { owner: 'gone', seenAt: Date.now() - 3_000 })
    age(kept.id)
    tab()
    expect(await gateway.calls.next()).toMatchObject({
      method: 'lockstep.outcomes',
      data: { ids: [crashed] },
    })
    rpc.reply(committed(kept.id))
    await kept.outcome
  })

  test('releases its lock when nothing is left to answer for', async () => {
    const locks = new FakeLocks()
    vi.stubGlobal('navigator', { locks })
    const client = tab()
    const call = client.call('send_message', 1)
    ;(await gateway.calls.next()).reply(committed(call.id))
    await call.outcome
    await vi.waitFor(() => expect(locks.held.size).toBe(0))
  })

  test('taken over by two tabs at once is reported by the last of them only', async () => {
    leave('ann', lost)
    const first = tab()
    const reported: string[] = []
    first.operations.on('settled', () => reported.push('first'))
    const question = await gateway.calls.next()
    const owner = JSON.parse(storage.getItem(`lockstep:ann:${lost}`) ?? '{}') as { owner: string }
    storage.setItem(`lockstep:ann:${lost}`, JSON.stringify({ ...owner, owner: 'second' }))
    question.reply({ data: { outcomes: [committed(lost).data] } })
    await quiet(first)
    expect(reported).toEqual([])
    expect(first.pending).toEqual([])
    expect(storage.length).toBe(1)
  })

  function age(id: string): void {
    const key = `lockstep:ann:${id}`
    const entry = JSON.parse(storage.getItem(key) ?? '{}') as object
    storage.setItem(key, JSON.stringify({ ...entry, seenAt: Date.now() - 3_000 }))
  }
})

test('pages that are left give their operations free, and other tabs are told', async () => {
  const listeners = new Map<string, Set<(event: object) => void>>()
  const fire = (type: string, event: object): void => listeners.get(type)?.forEach((call) => call(event))
  vi.stubGlobal('addEventListener', (type: string, call: (event: object) => void) => {
    listeners.set(type, (listeners.get(type) ?? new Set()).add(call))
  })
  vi.stubGlobal('removeEventListener', (type: string, call: (event: object) => void) => {
    listeners.get(type)?.delete(call)
  })
  const left = tab()
  const call = left.call('send_message', 1)
  await gateway.calls.next()
  const stays = tab()
  await quiet(stays)
  expect(asked()).toEqual([])
  fire('pagehide', { persisted: false })
  fire('storage', { key: `lockstep:ann:${call.id}` })
  await vi.waitFor(() => expect(asked()).toEqual([{ ids: [call.id] }]))
})

describe('a storage that fails', () => {
  const broken = (): never => {
    throw new Error('QuotaExceededError')
  }

  test('does not break a call', async () => {
    vi.spyOn(storage, 'setItem').mockImplementation(broken)
    vi.spyOn(storage, 'getItem').mockImplementation(broken)
    vi.spyOn(storage, 'removeItem').mockImplementation(broken)
    vi.spyOn(storage, 'key').mockImplementation(broken)
    const call = tab().call('send_message', 1)
    ;(await gateway.calls.next()).reply(committed(call.id))
    expect(await call.outcome).toMatchObject({ outcome: 'committed' })
  })

  test('that cannot even be read is as good as none', async () => {
    vi.stubGlobal('localStorage', undefined)
    Object.defineProperty(globalThis, 'localStorage', { configurable: true, get: broken })
    const { storage: _, ...options } = { storage }
    const client = createClient({
      ...options,
      url: gateway.url,
      getToken: () => Promise.resolve('opaque'),
      websocket: WebSocket,
    })
    clients.push(client)
    const call = client.call('send_message', 1)
    ;(await gateway.calls.next()).reply(committed(call.id))
    expect(await call.outcome).toMatchObject({ outcome: 'committed' })
  })
})

test('an operation is stored before it is sent, under the user the token names', async () => {
  let atSending: string[] = []
  gateway.onRpc = () => {
    atSending = [...storage.map.keys()]
    return undefined
  }
  const call = tab().call('send_message', 1)
  const rpc = await gateway.calls.next()
  expect(atSending).toEqual([`lockstep:ann:${call.id}`])
  rpc.reply(committed(call.id))
  await call.outcome
  expect(storage.length).toBe(0)
})

test('an opaque token leaves it to the server to name the user', async () => {
  const call = tab({ getToken: () => Promise.resolve('opaque') }).call('send_message', 1)
  const rpc = await gateway.calls.next()
  expect([...storage.map.keys()]).toEqual([`lockstep:ann:${call.id}`])
  rpc.reply(committed(call.id))
  await call.outcome
})

/** The part of Web Locks that the client uses: exclusive, held until the callback's promise ends. */
class FakeLocks {
  readonly held = new Map<string, Promise<void>>()
  async request(name: string, callback: () => Promise<void>): Promise<void> {
    await Promise.resolve()
    const holding = callback()
    this.held.set(name, holding)
    await holding
    this.held.delete(name)
  }
  query(): Promise<{ held: { name: string }[] }> {
    return Promise.resolve({ held: [...this.held.keys()].map((name) => ({ name })) })
  }
}

import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { Browser, crashed, FakeLocks, lost } from './browser.ts'
import { committed } from './fake-gateway.ts'

let browser: Browser

beforeEach(async () => {
  browser = await Browser.start()
})
afterEach(() => browser.close())

describe('an operation of another living tab', () => {
  test('is not asked for while its heartbeat is fresh', async () => {
    browser.leave('ann', lost, { owner: 'other', seenAt: Date.now() - 60_000 })
    await browser.quiet(browser.tab())
    expect(browser.asked()).toEqual([])
  })

  test('is asked for once the tab has been silent for longer than a throttled one', async () => {
    browser.leave('ann', lost, { owner: 'other', seenAt: Date.now() - 91_000 })
    browser.tab()
    expect(await browser.gateway.calls.next()).toMatchObject({ data: { ids: [lost] } })
  })

  test('is asked for although the clock was set back since it last said that it lives', async () => {
    vi.stubGlobal('navigator', { locks: new FakeLocks() })
    browser.leave('ann', crashed, { owner: 'gone', seenAt: Date.now() + 3_600_000 })
    browser.tab()
    expect(await browser.gateway.calls.next()).toMatchObject({ data: { ids: [crashed] } })
  })

  test('is judged by its heartbeat where the page may not look at the locks', async () => {
    const refused = (): Promise<never> => Promise.reject(new Error('SecurityError'))
    vi.stubGlobal('navigator', { locks: { request: refused, query: refused } })
    browser.leave('ann', lost, { owner: 'other', seenAt: Date.now() - 60_000 })
    browser.leave('ann', crashed, { owner: 'gone', seenAt: Date.now() - 91_000 })
    browser.tab()
    expect(await browser.gateway.calls.next()).toMatchObject({ data: { ids: [crashed] } })
  })

  test('queued there is not closed from here, and is sent there in the end', async () => {
    const other = browser.tab({ autoConnect: false, user: 'ann' })
    const call = other.call('send_message', 1)
    await browser.quiet(browser.tab())
    expect(browser.asked()).toEqual([])
    other.connection.connect()
    await expect.poll(() => browser.gateway.calls.all.at(-1)).toMatchObject({ method: 'send_message' })
    browser.gateway.calls.all.at(-1)?.reply(committed(call.id))
    expect(await call.outcome).toMatchObject({ outcome: 'committed' })
    expect(browser.storage.length).toBe(0)
  })

  test('with Web Locks is asked for as soon as its tab is gone, also by a crash', async () => {
    const locks = new FakeLocks()
    vi.stubGlobal('navigator', { locks })
    const holder = browser.tab()
    const kept = holder.call('send_message', 1)
    const rpc = await browser.gateway.calls.next()
    expect(locks.held.size).toBe(1)
    // The entry is old enough not to be spared for being new.
    browser.leave('ann', crashed, { owner: 'gone', seenAt: Date.now() - 3_000 })
    age(kept.id)
    browser.tab()
    expect(await browser.gateway.calls.next()).toMatchObject({
      method: 'lockstep.outcomes',
      data: { ids: [crashed] },
    })
    rpc.reply(committed(kept.id))
    await kept.outcome
  })

  test('releases its lock when nothing is left to answer for', async () => {
    const locks = new FakeLocks()
    vi.stubGlobal('navigator', { locks })
    const client = browser.tab()
    const call = client.call('send_message', 1)
    ;(await browser.gateway.calls.next()).reply(committed(call.id))
    await call.outcome
    await expect.poll(() => locks.held.size).toBe(0)
  })

  test('taken over by two tabs at once is reported by the last of them only', async () => {
    browser.leave('ann', lost)
    const first = browser.tab()
    const reported: string[] = []
    first.operations.on('settled', () => reported.push('first'))
    const question = await browser.gateway.calls.next()
    const owner = JSON.parse(browser.storage.getItem(`lockstep:ann:${lost}`) ?? '{}') as { owner: string }
    browser.storage.setItem(`lockstep:ann:${lost}`, JSON.stringify({ ...owner, owner: 'second' }))
    question.reply({ data: { outcomes: [committed(lost).data] } })
    await browser.quiet(first)
    expect(reported).toEqual([])
    expect(first.pending).toEqual([])
    expect(browser.storage.length).toBe(1)
  })

  function age(id: string): void {
    const key = `lockstep:ann:${id}`
    const entry = JSON.parse(browser.storage.getItem(key) ?? '{}') as object
    browser.storage.setItem(key, JSON.stringify({ ...entry, seenAt: Date.now() - 3_000 }))
  }
})

test('a client that is closed while it looks for abandoned operations leaves them to the next', async () => {
  const locks = new FakeLocks()
  vi.stubGlobal('navigator', { locks })
  let answer = (): void => {}
  const query = vi.spyOn(locks, 'query').mockImplementationOnce(
    () =>
      new Promise((resolve) => {
        answer = () => resolve({ held: [] })
      }),
  )
  browser.leave('ann', lost)
  const first = browser.tab()
  await vi.waitUntil(() => query.mock.calls.length === 1)
  first.close()
  answer()
  // Opens a second tab beside the first: locks end with the page that holds them.
  browser.tab()
  expect(await browser.gateway.calls.next()).toMatchObject({ data: { ids: [lost] } })
  expect(locks.held.size).toBe(1)
})

test('pages that are left give their operations free, and other tabs hear of it', async () => {
  const listeners = new Map<string, Set<(event: object) => void>>()
  const fire = (type: string, event: object): void => listeners.get(type)?.forEach((call) => call(event))
  vi.stubGlobal('addEventListener', (type: string, call: (event: object) => void) => {
    listeners.set(type, (listeners.get(type) ?? new Set()).add(call))
  })
  vi.stubGlobal('removeEventListener', (type: string, call: (event: object) => void) => {
    listeners.get(type)?.delete(call)
  })
  const left = browser.tab()
  const call = left.call('send_message', 1)
  await browser.gateway.calls.next()
  const stays = browser.tab()
  await browser.quiet(stays)
  expect(browser.asked()).toEqual([])
  fire('pagehide', { persisted: false })
  const key = `lockstep:ann:${call.id}`
  fire('storage', { key, newValue: browser.storage.getItem(key) })
  await expect.poll(() => browser.asked()).toEqual([{ ids: [call.id] }])
})

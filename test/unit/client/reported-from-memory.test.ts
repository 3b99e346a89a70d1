// Reports that an earlier page has made already: notices, and rollbacks reported from memory whose id is not closed yet.
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { Client } from '../../../src/client/index.ts'
import { Browser, FakeLocks, lost } from './browser.ts'
import { committed, envelope, noticeFor, Queue, type Connection } from './fake-gateway.ts'

let browser: Browser

beforeEach(async () => {
  browser = await Browser.start()
})
afterEach(() => browser.close())

interface Page {
  readonly client: Client
  readonly connection: Connection
  readonly notices: string[]
  readonly settled: string[]
}

async function page(options: Parameters<Browser['tab']>[0] = {}): Promise<Page> {
  const client = browser.tab(options)
  const [notices, settled]: [string[], string[]] = [[], []]
  client.notices.on(({ transactionId }) => notices.push(transactionId))
  client.operations.on('settled', ({ id }) => settled.push(id))
  return { client, connection: await browser.gateway.connects.next(), notices, settled }
}

function push({ connection }: Page, id: string, user = 'ann'): void {
  connection.publish(`user:${user}`, undefined, envelope('transaction_rolled_back', noticeFor(id)))
}

const key = (id: string): string => `lockstep:ann:${id}`
const toldIds = (): string[] =>
  (JSON.parse(browser.storage.getItem(key('notices')) ?? '[]') as [string][]).map(([id]) => id)

describe('a notice', () => {
  test('that an earlier page has reported is not reported again, and others are', async () => {
    const before = await page()
    push(before, 'a')
    await browser.quiet(before.client)
    expect(before.notices).toEqual(['a'])
    before.client.close()

    const after = await page()
    push(after, 'a')
    push(after, 'b')
    await browser.quiet(after.client)
    expect(after.notices).toEqual(['b'])
    expect(toldIds()).toEqual(['a', 'b'])
  })

  test('that an earlier page reported with its call is not reported again by the channel', async () => {
    const before = await page()
    const call = before.client.call('send_message', 1)
    const rpc = await browser.gateway.calls.next()
    rpc.reply({ data: { outcome: 'rolled_back', operationId: call.id, notice: noticeFor(call.id) } })
    await call.outcome
    before.client.close()
    const after = await page()
    push(after, call.id)
    await browser.quiet(after.client)
    expect([before.notices, after.notices]).toEqual([[call.id], []])
  })

  test('is reported by every living tab', async () => {
    const tabs = [await page(), await page()]
    for (const tab of tabs) {
      push(tab, 'a')
      await browser.quiet(tab.client)
    }
    expect(tabs.map(({ notices }) => notices)).toEqual([['a'], ['a']])
    expect(toldIds()).toEqual(['a'])
  })

  test('that nobody heard is reported by the next page', async () => {
    const before = browser.tab()
    const connection = await browser.gateway.connects.next()
    connection.publish('user:ann', undefined, envelope('transaction_rolled_back', noticeFor('a')))
    await browser.quiet(before)
    before.close()
    const after = await page()
    push(after, 'a')
    await browser.quiet(after.client)
    expect(after.notices).toEqual(['a'])
  })

  test('reported to one user is reported to another', async () => {
    const before = await page()
    push(before, 'a')
    await browser.quiet(before.client)
    before.client.close()
    browser.gateway.user = 'bob'
    const after = await page()
    push(after, 'a', 'bob')
    await browser.quiet(after.client)
    expect(after.notices).toEqual(['a'])
  })

  test('is remembered for ten minutes, and the last two hundred are', async () => {
    const minutes = 60_000
    const told = Array.from({ length: 250 }, (_, index) => [`n${index}`, Date.now() - 9 * minutes])
    browser.storage.setItem(key('notices'), JSON.stringify([['old', Date.now() - 11 * minutes], ...told]))
    const { client, connection, notices } = await page()
    for (const id of ['old', 'n249', 'new']) {
      connection.publish('user:ann', undefined, envelope('transaction_rolled_back', noticeFor(id)))
    }
    await browser.quiet(client)
    expect(notices).toEqual(['old', 'new'])
    expect(toldIds()).toHaveLength(200)
    expect(toldIds().slice(-2)).toEqual(['old', 'new'])
  })

  test.each(['not json', '{"a":1}', '[1,["a"],["a","b"],null]'])(
    'is told where the storage holds %s',
    async (text) => {
      browser.storage.setItem(key('notices'), text)
      const only = await page()
      push(only, 'a')
      await browser.quiet(only.client)
      expect(only.notices).toEqual(['a'])
      expect(toldIds()).toEqual(['a'])
    },
  )

  test('is reported without a storage, and with one that fails', async () => {
    vi.spyOn(browser.storage, 'setItem').mockImplementation(() => {
      throw new Error('QuotaExceededError')
    })
    for (const options of [{ storage: null }, {}]) {
      const only = await page(options)
      push(only, 'a')
      await browser.quiet(only.client)
      expect(only.notices).toEqual(['a'])
    }
  })
})

describe('a rollback reported from memory', () => {
  const notice = { ...noticeFor(lost), transient: true }
  const fromMemory = { outcome: 'rolled_back', operationId: lost, notice }
  const durable = { ...fromMemory, notice: noticeFor(lost) }
  const never = { outcome: 'never_received', operationId: lost }

  /** The question for the open call comes after those that a closed page left. */
  async function question() {
    for (;;) {
      const call = await browser.gateway.calls.next()
      if (call.method === 'lockstep.outcomes') return call
    }
  }

  async function told(): Promise<Page> {
    const before = await page()
    const { outcome } = before.client.call('send_message', { text: 'secret' }, { id: lost })
    ;(await browser.gateway.calls.next()).reply({ data: fromMemory })
    expect(await outcome).toMatchObject({ outcome: 'rolled_back' })
    await question()
    return before
  }

  test.each([
    ['rolled back', durable],
    ['never received', never],
    ['committed, by a copy', committed(lost).data],
  ])('is asked for by the next page, in silence, until it is known: %s', async (_, final) => {
    const before = await told()
    expect([before.notices, before.settled]).toEqual([[lost], [lost]])
    before.client.close()
    expect(browser.storage.getItem(key(lost))).not.toContain('secret')
    // The entry of the operation itself remembers that it was told long ago.
    browser.storage.removeItem(key('notices'))

    const after = await page()
    const changes: unknown[] = []
    const { pending } = after.client
    after.client.operations.on('change', (now) => changes.push(now))
    for (const open of [{ outcome: 'pending', operationId: lost }, fromMemory]) {
      const asked = await question()
      expect(asked.data).toEqual({ ids: [lost] })
      asked.reply({ data: { outcomes: [open] } })
    }
    push(after, 'other')
    ;(await question()).reply({ data: { outcomes: [final] } })
    await browser.quiet(after.client)
    push(after, lost)
    await browser.quiet(after.client)
    expect(after.client.pending).toBe(pending)
    expect([after.notices, after.settled, changes]).toEqual([['other'], [], []])
    expect(browser.storage.getItem(key(lost))).toBeNull()
  })

  test('is forgotten once the page that reported it knows', async () => {
    const before = await told()
    expect(browser.storage.getItem(key(lost))).toContain('"told":true')
    push(before, lost)
    await browser.quiet(before.client)
    expect([before.notices, before.settled]).toEqual([[lost], [lost]])
    expect(browser.storage.getItem(key(lost))).toBeNull()
  })

  test('is forgotten once the server refuses to answer', async () => {
    ;(await told()).client.close()
    const after = await page()
    ;(await question()).reply({ error: { code: 403, message: 'LS_FORBIDDEN' } })
    await browser.quiet(after.client)
    expect(after.settled).toEqual([])
    expect(browser.storage.getItem(key(lost))).toBeNull()
  })

  test('is not reported again before the next page may ask for it', async () => {
    vi.stubGlobal('navigator', { locks: new FakeLocks() })
    const { client } = await told()
    client.close()
    // The entry is as a crash leaves it, a moment ago.
    browser.leave('ann', lost, { told: true, seenAt: Date.now() })
    browser.storage.removeItem(key('notices'))
    const after = await page()
    push(after, lost)
    await browser.quiet(after.client)
    expect(after.notices).toEqual([])
  })

  test.each(['of outcomes', 'of notices'])('is kept when a listener %s closes the client', async (which) => {
    vi.stubGlobal('navigator', { locks: new FakeLocks() })
    const { client } = await page()
    const close = (): void => client.close()
    if (which === 'of outcomes') client.operations.on('settled', close)
    else client.notices.on(close)
    const call = client.call('send_message', 1, { id: lost })
    ;(await browser.gateway.calls.next()).reply({ data: fromMemory })
    await call.outcome
    browser.tab()
    expect((await question()).data).toEqual({ ids: [lost] })
  })

  test('that nobody has heard is reported as what it turned out to be', async () => {
    browser.leave('ann', lost)
    const client = browser.tab()
    const asked = await question()
    asked.reply({ data: { outcomes: [fromMemory] } })
    ;(await question()).reply({ data: { outcomes: [never] } })
    await browser.quiet(client)
    expect(browser.storage.length).toBe(1)
    const settled = new Queue<unknown>()
    client.operations.on('settled', (_, outcome) => settled.push(outcome))
    expect(await settled.next()).toEqual(never)
    expect(browser.storage.length).toBe(0)
  })

  test('is reported in vain when the storage has no room: forgotten, rather than reported again', async () => {
    const client = browser.tab()
    const call = client.call('send_message', 1, { id: lost })
    const rpc = await browser.gateway.calls.next()
    vi.spyOn(browser.storage, 'setItem').mockImplementation(() => {
      throw new Error('QuotaExceededError')
    })
    rpc.reply({ data: fromMemory })
    await call.outcome
    expect(browser.storage.length).toBe(0)
  })
})

test.each(['without an outcome', 'reported from memory'])(
  'an id that another page left %s is a repeat',
  async (left) => {
    const entry = {
      owner: 'other',
      seenAt: Date.now(),
      ...(left === 'reported from memory' ? { told: true } : {}),
    }
    browser.leave('ann', lost, entry)
    const client = browser.tab()
    const call = client.call('send_message', 1, { id: lost })
    const rpc = await browser.gateway.calls.next()
    expect(rpc.data).toStrictEqual({ id: lost, input: 1, repeat: true })
    rpc.reply(committed(lost))
    await call.outcome
    expect(browser.storage.length).toBe(0)
  },
)

// The demo's server, by the requests of its pages.
import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import { json } from 'node:stream/consumers'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import type { App } from '../../../examples/chat/server/chat.ts'
import { isHostKnown, knownHosts } from '../../../examples/chat/server/hosts.ts'
import type { SentMessage } from '../../../examples/chat/server/shapes.ts'
import { newOperationId, type Client } from '../../../src/client/index.ts'
import { startChatNode, type ChatNode } from '../../support/chat-node.ts'
import { createTestDatabase, type TestDatabase } from '../../support/database.ts'

let database: TestDatabase
let node: ChatNode
let ada: Client<App>
let grace: Client<App>

beforeAll(async () => {
  database = await createTestDatabase()
  node = await startChatNode(database.url)
  ada = await node.person('ada')
  grace = await node.person('grace')
})
afterAll(async () => {
  await node.close()
  await database.drop()
})

const send = (body: string, id = newOperationId()) =>
  ada.call('send_message', { conversationId: 'lobby', body }, { id }).outcome

/** Resolves to the first such message that a listener hears. */
function heard(person: Client<App>, body: string): Promise<SentMessage & { readonly offset?: number }> {
  return new Promise((resolve) => {
    const channel = person.channel('conversation:lobby')
    channel.on('message.created', (message, { offset }) => {
      if (message.body !== body) return
      resolve({ ...message, ...(offset === undefined ? {} : { offset }) })
      channel.close()
    })
  })
}

const isSaved = async (body: string): Promise<boolean> =>
  (await node.pool.query('select from messages where body = $1', [body])).rows.length > 0

describe('a message that fails after its event was emitted', () => {
  test.each(['off', 'observe'] as const)(
    'is seen by others in the mode %s, and is not saved',
    async (mode) => {
      await node.setMode(mode)
      const body = `/ghost ${mode}`
      const seen = heard(grace, body)
      const notices: string[] = []
      const off = grace.notices.on(({ transactionId }) => void notices.push(transactionId))
      const outcome = send(body)
      expect(await seen).toMatchObject({ author: 'ada', uncoordinated: { mode, early: true } })
      expect(await outcome).toMatchObject({ outcome: 'rolled_back' })
      expect(await isSaved(body)).toBe(false)
      expect(notices).toEqual([])
      off()
    },
  )

  test('is seen by nobody in the mode enforce', async () => {
    await node.setMode('enforce')
    const others: string[] = []
    const channel = grace.channel('conversation:lobby')
    channel.on('message.created', (message) => void others.push(message.body))
    await channel.ready()
    expect(await send('/ghost enforced')).toMatchObject({ outcome: 'rolled_back' })
    const after = heard(grace, 'after the ghost')
    await send('after the ghost')
    await after
    expect(others).toEqual(['after the ghost'])
    channel.close()
  })
})

describe('what the server has measured of a message', () => {
  async function evidenceOf(person: Client<App>, operationId: string) {
    const { evidence } = await person.query('message_evidence', { operationId })
    return evidence
  }

  test('says that its event left after the commit where Lockstep enforces, and before where it observes', async () => {
    for (const [mode, isEarly] of [
      ['enforce', false],
      ['observe', true],
    ] as const) {
      await node.setMode(mode)
      const id = newOperationId()
      const seen = heard(grace, `/early ${mode}`)
      await send(`/early ${mode}`, id)
      expect((await seen).offset === undefined).toBe(isEarly)
      await expect.poll(() => evidenceOf(ada, id)).toMatchObject({ outcome: 'committed' })
      const { shownAfterMs = Number.NaN } = (await evidenceOf(ada, id)) ?? {}
      expect(shownAfterMs < 0).toBe(isEarly)
      expect(await evidenceOf(grace, id)).toBeNull()
    }
  })
})

describe('somebody who writes as much as a message may hold', () => {
  const count = 200
  const longest = 4_000

  beforeEach(async () => {
    await node.setMode('enforce')
    // A character that takes six bytes in JSON.
    await node.pool.query(
      `insert into messages (id, conversation_id, author, body, created_at)
       select gen_random_uuid(), 'lobby', 'mallory', rpad(n || ' ', $2, chr(1)), clock_timestamp() + n * interval '1 ms'
       from generate_series(1, $1) as n`,
      [count, longest],
    )
  })

  test('blocks nobody: what is read at once is bounded by bytes, and the rest page by page', async () => {
    const { rows } = await node.pool.query<{ total: number }>(`select count(*)::int as total from messages`)
    let before: { id: string; createdAt: string } | undefined
    const read = new Set<string>()
    for (;;) {
      const page = await grace.query('list_messages', {
        conversationId: 'lobby',
        ...(before === undefined ? {} : { before }),
      })
      expect(Buffer.byteLength(JSON.stringify(page))).toBeLessThan(300_000)
      for (const { id } of page.messages) read.add(id)
      const [oldest] = page.messages
      if (!page.hasEarlier || oldest === undefined) break
      before = { id: oldest.id, createdAt: oldest.createdAt }
    }
    expect(read.size).toBe(rows[0]?.total)
  })

  test('blocks nobody’s list of conversations, which shows beginnings', async () => {
    await node.pool.query(
      `with created as (
         insert into conversations (id, title, created_by)
         select 'long' || n, 'long', 'mallory' from generate_series(1, 200) as n returning id),
       member as (insert into conversation_members select id, 'grace' from created)
       insert into messages (id, conversation_id, author, body)
       select gen_random_uuid(), id, 'mallory', repeat(chr(1), $1) from created`,
      [longest],
    )
    const list = await grace.query('list_conversations', {})
    expect(list.conversations).toHaveLength(200)
    expect(list.conversations.map(({ id }) => id)).toContain('lobby')
    expect(Buffer.byteLength(JSON.stringify(list))).toBeLessThan(400_000)
  })
})

describe('a request that names another host', () => {
  const port = (): string => new URL(node.http).port

  async function ask(host: string): Promise<{ status: number | undefined; body: unknown }> {
    const [response] = (await once(
      get(node.http, { path: '/demo/mode', headers: { host }, agent: false }),
      'response',
    )) as [IncomingMessage]
    return { status: response.statusCode, body: await json(response) }
  }

  test.each(['localhost', '127.0.0.1', '[::1]', 'LOCALHOST', 'ada.localhost', '192.0.2.7'])(
    'is answered when it is %s',
    async (name) => {
      expect(await ask(`${name}:${port()}`)).toMatchObject({ status: 200 })
    },
  )

  test.each(['evil.example', 'localhost.evil.example', '127.0.0.1.evil.example', '1.2.3.4.evil.example'])(
    'is refused when it is %s',
    async (name) => {
      const { status, body } = await ask(`${name}:${port()}`)
      expect(status).toBe(403)
      expect(body).toMatchObject({ code: 'DEMO_HOST_UNKNOWN' })
    },
  )

  test('is refused when what it names is no host', () => {
    const names = knownHosts('127.0.0.1', [])
    for (const host of [undefined, '', 'x@localhost', 'localhost:4370:1', '[::1', 'localhost/', 'localhost '])
      expect(isHostKnown(host, names)).toBe(false)
  })

  test('is answered when the name is listed, whatever its case', () => {
    expect(isHostKnown('Chat.Example:4370', knownHosts('0.0.0.0', ['chat.example']))).toBe(true)
  })

  test('opens no socket, although the page that asks is of that host', async () => {
    const host = `evil.example:${port()}`
    const socket = new WebSocket(`${node.http.replace('http', 'ws')}/lockstep/ws`, {
      headers: { host, origin: `http://${host}` },
    })
    const [error] = (await once(socket, 'error')) as [Error]
    expect(error.message).toContain('403')
  })
})

// Drafts on a real Postgres: chunks reach subscribers before the commit, late joiners have all of them, and each draft ends once on
// every screen.
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { setFaultHook } from '../../../src/core/fault-point.ts'
import { defineChannel } from '../../../src/core/index.ts'
import type { DraftPush, Ongoing } from '../../../src/protocol/index.ts'
import { centrifuge, connected, Inbox, serve, type Served } from '../../support/sockets.ts'
import { createWorld, type World } from '../../support/world.ts'
import { eventually } from '../../support/eventually.ts'

const events = { said: z.object({ text: z.string() }) }
const drafts = { answer: z.string(), parts: z.object({ n: z.number() }) }
const talk = defineChannel<'talk:{id}', typeof events, false, typeof drafts>('talk:{id}', {
  events,
  drafts,
  canSubscribe: () => true,
})

let world: World
let served: Served
const clients: { disconnect(): void }[] = []
beforeEach(async () => {
  world = await createWorld({
    declare: (lockstep) => {
      lockstep.channel('talk:{id}', { events, drafts, canSubscribe: ({ user }) => user.id !== 'eve' })
    },
  })
  served = await serve(world)
})
afterEach(async () => {
  for (const client of clients.splice(0)) client.disconnect()
  await served.close()
  await world.close()
})

const ada = { user: 'ada' }
const gate = () => {
  let open!: () => void
  const passed = new Promise<void>((resolve) => (open = resolve))
  return { open, passed }
}

interface Shown {
  readonly type: string
  readonly operationId?: string
  readonly draft?: DraftPush['draft']
  readonly runId?: string | null
  readonly chunks?: readonly unknown[]
  readonly data?: unknown
}

async function join(channel: string, at: Served = served) {
  const client = await connected(centrifuge(at.url, 'bob'))
  clients.push(client)
  const subscription = client.newSubscription(channel, { recoverable: true, positioned: true })
  const inbox = new Inbox<Shown>()
  subscription.on('publication', ({ data }) => inbox.push(data as Shown))
  const reply = new Promise<unknown>((resolve) => subscription.on('subscribed', ({ data }) => resolve(data)))
  subscription.subscribe()
  const data = (await reply) as Ongoing
  return {
    data,
    inbox,
    chunks: (operation?: string) =>
      inbox.items
        .filter(
          ({ draft }) => draft !== undefined && (operation === undefined || draft.operation === operation),
        )
        .flatMap(({ chunks }) => chunks ?? []),
  }
}

describe('a draft of an operation', () => {
  it('is shown before the commit, to late joiners too, and ends with the event of its operation', async () => {
    const [half, goOn] = [gate(), gate()]
    const early = await join('talk:a')
    expect(early.data).toEqual({ drafts: [], runs: [] })
    const said = world.lockstep.transaction({ name: 'say', ...ada }, async (tx) => {
      const draft = tx.draft(talk({ id: 'a' }), 'answer')
      draft.append('one ')
      draft.append('two ')
      await half.passed
      draft.append('three')
      await goOn.passed
      expect(draft.text).toBe('one two three')
      tx.emit(talk({ id: 'a' }), 'said', { text: draft.text })
      return tx.operationId
    })
    await early.inbox.until(() => early.chunks().length === 2)
    const late = await join('talk:a')
    expect(late.data.drafts).toMatchObject([
      { name: 'answer', attempt: 1, runId: null, from: 1, chunks: ['one ', 'two '] },
    ])
    half.open()
    await late.inbox.until(() => late.chunks().length === 1)
    goOn.open()
    const operation = await said
    for (const { inbox } of [early, late]) {
      const items = await inbox.until((all) => all.some(({ type }) => type === 'said'))
      expect(items.at(-1)).toMatchObject({ type: 'said', operationId: operation })
    }
    expect(early.chunks()).toEqual(['one ', 'two ', 'three'])
    expect(late.inbox.items[0]).toMatchObject({
      type: 'draft',
      draft: { operation, name: 'answer', attempt: 1, from: 3 },
      runId: null,
      chunks: ['three'],
    })
    expect((await world.eventsOf('talk:a')).map(({ type }) => type)).toEqual(['said'])
    expect(await world.rows('select * from lockstep.drafts')).toEqual([])
    expect(await world.rows('select * from lockstep.draft_chunks')).toEqual([])
    expect(await world.rows('select * from lockstep.rollback_events')).toEqual([])
  })

  it('is committed by an event of its own where the operation emits none there', async () => {
    const early = await join('talk:b')
    await world.lockstep.transaction({ name: 'think', ...ada }, async (tx) => {
      tx.draft(talk({ id: 'b' }), 'parts').append({ n: 1 })
      await early.inbox.until(() => early.chunks().length === 1)
    })
    await early.inbox.until((all) => all.some(({ type }) => type === 'draft.committed'))
    expect((await world.eventsOf('talk:b')).map(({ type }) => type)).toEqual(['draft.committed'])
  })

  it('of an attempt that met a conflict is retracted by the commit of the next one, which shows none', async () => {
    const early = await join('talk:again')
    let attempts = 0
    await world.lockstep.transaction({ name: 'again', ...ada }, async (tx) => {
      attempts += 1
      if (attempts > 1) return
      tx.draft(talk({ id: 'again' }), 'answer').append('first')
      await early.inbox.until(() => early.chunks().length === 1)
      await tx.db.query(`do $$ begin raise sqlstate '40001'; end $$`)
    })
    expect(attempts).toBe(2)
    await early.inbox.until((all) => all.some(({ type }) => type === 'draft.retracted'))
    expect((await world.eventsOf('talk:again')).map(({ type }) => type)).toEqual(['draft.retracted'])
    expect(await world.rows('select * from lockstep.drafts')).toEqual([])
  })

  it('shows behind an entry that no client is shown', async () => {
    const early = await join('talk:hidden')
    await world.lockstep.rollout.set('quiet', 'observe')
    await world.lockstep.transaction({ name: 'quiet', ...ada }, async (tx) =>
      tx.emit(talk({ id: 'hidden' }), 'said', { text: 'x' }),
    )
    await world.lockstep.transaction({ name: 'think', ...ada }, async (tx) => {
      tx.draft(talk({ id: 'hidden' }), 'answer').append('a')
      const items = await early.inbox.until((all) => all.some(({ type }) => type === 'draft'))
      expect(items.findLast(({ type }) => type === 'draft')?.draft?.after).toBe(0)
    })
  })

  it('is retracted with the rollback of its operation', async () => {
    const early = await join('talk:c')
    const failing = world.lockstep.transaction({ name: 'fail', ...ada }, async (tx) => {
      tx.draft(talk({ id: 'c' }), 'answer').append('wrong')
      await early.inbox.until(() => early.chunks().length === 1)
      throw new Error('no')
    })
    await expect(failing).rejects.toThrow('no')
    const items = await early.inbox.until((all) => all.some(({ type }) => type === 'draft.retracted'))
    const { draft } = items.find(({ type }) => type === 'draft') ?? {}
    expect(items.at(-1)).toMatchObject({ type: 'draft.retracted', operationId: draft?.operation })
    expect((await join('talk:c')).data.drafts).toEqual([])
    expect((await world.eventsOf('talk:c')).map(({ type }) => type)).toEqual(['draft.retracted'])
  })

  it('is retracted by the commit where its savepoint was rolled back', async () => {
    const early = await join('talk:d')
    await world.lockstep.transaction({ name: 'try', ...ada }, async (tx) => {
      await tx
        .transaction(async (inner) => {
          inner.draft(talk({ id: 'd' }), 'answer').append('maybe')
          await early.inbox.until(() => early.chunks().length === 1)
          throw new Error('not this way')
        })
        .catch(() => {})
      tx.emit(talk({ id: 'd' }), 'said', { text: 'other' })
    })
    await early.inbox.until((all) => all.some(({ type }) => type === 'said'))
    expect((await world.eventsOf('talk:d')).map(({ type }) => type)).toEqual(['draft.retracted', 'said'])
  })

  it('is shown only once its row was answered', async () => {
    const order: string[] = []
    setFaultHook(async (name) => {
      if (!name.startsWith('drafts.')) return
      // Several pushes would leave in this time.
      if (name === 'drafts.after-open') await new Promise((resolve) => setTimeout(resolve, 200))
      order.push(name)
    })
    try {
      const early = await join('talk:j')
      await world.lockstep.transaction({ name: 'wait', ...ada }, async (tx) => {
        tx.draft(talk({ id: 'j' }), 'answer').append('one')
        await early.inbox.until(() => early.chunks().length === 1)
      })
    } finally {
      setFaultHook(undefined)
    }
    expect(order.slice(0, 3)).toEqual(['drafts.before-open', 'drafts.after-open', 'drafts.before-push'])
  })

  it('of great length reaches a late joiner whole, with others beside it, and the connection stays', async () => {
    const { open, passed } = gate()
    const users = ['u1', 'u2', 'u3', 'u4', 'u5']
    const writing = users.map((user) =>
      world.lockstep.transaction({ name: 'long', user }, async (tx) => {
        tx.draft(talk({ id: 'long' }), 'answer').append('x'.repeat(250_000))
        await passed
      }),
    )
    await eventually(async () =>
      expect(await world.rows(`select from lockstep.draft_chunks where channel = 'talk:long'`)).toHaveLength(
        5,
      ),
    )
    const late = await join('talk:long')
    expect(late.data.drafts.map(({ chunks }) => chunks.join('').length)).toEqual(users.map(() => 250_000))
    open()
    await Promise.all(writing)
    // Ends come over the same connection: it was not closed for the length of the reply.
    await late.inbox.until((all) => all.filter(({ type }) => type === 'draft.committed').length === 5)
  })

  it('refuses names that its channel does not declare, and chunks that its schema refuses', async () => {
    await world.lockstep.transaction({ name: 'mistakes', ...ada }, async (tx) => {
      expect(() => tx.draft(talk({ id: 'e' }), 'anwser' as 'answer')).toThrow(
        'Channel "talk:{id}" declares no draft "anwser". It declares: answer, parts. Did you mean "answer"?',
      )
      const parts = tx.draft(talk({ id: 'e' }), 'parts')
      expect(() => parts.append({ n: 'x' } as never)).toThrow('expected number, received string')
      const answer = tx.draft(talk({ id: 'e' }), 'answer')
      answer.append('x'.repeat(200_000))
      expect(() => answer.append('x'.repeat(100_000))).toThrow('at most 262144 are allowed')
    })
  })
})

it('lockstep.drafts answers whoever may subscribe', async () => {
  const early = await join('talk:k')
  await world.lockstep.transaction({ name: 'look', ...ada }, async (tx) => {
    tx.draft(talk({ id: 'k' }), 'answer').append('one')
    await early.inbox.until(() => early.chunks().length === 1)
    const bob = await connected(centrifuge(served.url, 'bob'))
    clients.push(bob)
    await eventually(async () => {
      const { data } = await bob.rpc('lockstep.drafts', { channel: 'talk:k' })
      expect(data).toMatchObject({
        drafts: [
          { operation: tx.operationId, name: 'answer', attempt: 1, runId: null, from: 1, chunks: ['one'] },
        ],
        position: { offset: 0 },
      })
    })
  })
  const eve = await connected(centrifuge(served.url, 'eve'))
  clients.push(eve)
  await expect(eve.rpc('lockstep.drafts', { channel: 'talk:k' })).rejects.toMatchObject({ code: 103 })
})

describe('a draft of a step', () => {
  it('names its run, follows its state, and ends with the commit of the step', async () => {
    const early = await join('talk:f')
    const task = world.lockstep.task('answer', {
      input: z.object({}),
      channel: () => talk({ id: 'f' }),
      async run({ step, channel }) {
        await step.do('answer', {
          async work({ draft }) {
            draft('answer').append('one ')
            await early.inbox.until(() => early.chunks().length === 1)
            draft('answer').append('two')
            return draft('answer').text
          },
          async commit(tx, text) {
            tx.emit(channel, 'said', { text })
          },
        })
      },
    })
    const run = await task.start({}, ada)
    expect(await task.ended(run)).toMatchObject({ state: 'completed' })
    const items = await early.inbox.until((all) =>
      all.some(({ type, data }) => type === 'run.state' && (data as { state: string }).state === 'completed'),
    )
    const first = items.find(({ type }) => type === 'draft')
    expect(first).toMatchObject({ runId: run.id, draft: { name: 'answer', attempt: 1, from: 1 } })
    const said = items.find(({ type }) => type === 'said')
    expect(said).toMatchObject({ operationId: first?.draft?.operation, data: { text: 'one two' } })
    // The state "running" was shown before the first chunk.
    expect(first?.draft?.after).toBe(3)
    expect(items.findIndex(({ type }) => type === 'draft')).toBe(3)
    expect(await world.rows('select * from lockstep.drafts')).toEqual([])
  })

  it('is retracted where the work throws, and shown anew by the next try', async () => {
    const early = await join('talk:g')
    const task = world.lockstep.task('stumble', {
      input: z.object({}),
      channel: () => talk({ id: 'g' }),
      retry: { attempts: 2, backoffMs: 1 },
      async run({ step, channel }) {
        let tries = 0
        await step.do('answer', {
          async work({ draft, attempt }) {
            draft('answer').append(`${attempt}`)
            await early.inbox.until(() => early.chunks().includes(`${attempt}`))
            if ((tries += 1) === 1 && attempt === 1) throw new Error('broken stream')
            return draft('answer').text
          },
          async commit(tx, text) {
            tx.emit(channel, 'said', { text })
          },
        })
      },
    })
    const run = await task.start({}, ada)
    expect(await task.ended(run)).toMatchObject({ state: 'completed' })
    await early.inbox.until((all) => all.some(({ type }) => type === 'said'))
    const types = early.inbox.items.map(({ type }) => type).filter((type) => type !== 'run.state')
    expect(types.slice(0, 4)).toEqual(['draft', 'draft.retracted', 'draft', 'said'])
  })

  it('is kept by a stop: what was shown is committed, marked as stopped', async () => {
    const early = await join('talk:h')
    const task = world.lockstep.task('long', {
      input: z.object({}),
      channel: () => talk({ id: 'h' }),
      async run({ step, channel }) {
        await step.do('answer', {
          async work({ draft, signal }) {
            draft('answer').append('half')
            await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
            return draft('answer').text
          },
          async commit(tx, text, { stopped }) {
            tx.emit(channel, 'said', { text: `${text} ${stopped}` })
          },
        })
      },
    })
    const run = await task.start({}, ada)
    await early.inbox.until(() => early.chunks().length === 1)
    await task.stop(run)
    expect(await task.ended(run)).toEqual({ state: 'cancelled' })
    const items = await early.inbox.until((all) => all.some(({ type }) => type === 'said'))
    expect(items.find(({ type }) => type === 'said')?.data).toEqual({ text: 'half true' })
  })

  it('is retracted with the end of the run where a stop discards', async () => {
    const early = await join('talk:i')
    const task = world.lockstep.task('drop', {
      input: z.object({}),
      channel: () => talk({ id: 'i' }),
      onStop: 'discard',
      async run({ step }) {
        await step.do('answer', async ({ draft, signal }) => {
          draft('answer').append('half')
          await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
        })
      },
    })
    const run = await task.start({}, ada)
    await early.inbox.until(() => early.chunks().length === 1)
    await task.stop(run)
    expect(await task.ended(run)).toEqual({ state: 'cancelled' })
    const items = await early.inbox.until((all) => all.some(({ type }) => type === 'draft.retracted'))
    const operation = items.find(({ type }) => type === 'draft')?.draft?.operation
    expect(items.find(({ type }) => type === 'draft.retracted')?.operationId).toBe(operation)
    expect(
      await world.rows('select state, notice from lockstep.operations where id = $1', [operation]),
    ).toEqual([{ state: 'rolled_back', notice: null }])
  })

  it('needs a channel of its task', async () => {
    const task = world.lockstep.task('report', {
      input: z.object({}),
      retry: { attempts: 1 },
      run: async ({ step }) => step.do('write', async ({ draft }) => draft('text' as never)),
    })
    await task.ended(await task.start({}, ada))
    await eventually(() =>
      expect(world.logger.lines.map(({ fields }) => String(fields['error']))).toContainEqual(
        expect.stringContaining('Task "report" has no channel, so nobody could see draft "text".'),
      ),
    )
  })
})

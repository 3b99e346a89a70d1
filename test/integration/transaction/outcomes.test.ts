import type { Centrifuge } from 'centrifuge'
import { v7 } from 'uuid'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { newOperationId } from '../../../src/index.ts'
import { centrifuge, connected, serve, type Served } from '../../support/sockets.ts'
import { createWorld, type World } from '../../support/world.ts'

let world: World
let served: Served
let ada: Centrifuge
let eve: Centrifuge

beforeAll(async () => {
  world = await createWorld()
  served = await serve(world)
  ada = await connected(centrifuge(served.url, 'ada'))
  eve = await connected(centrifuge(served.url, 'eve'))
})
afterAll(async () => {
  ada.disconnect()
  eve.disconnect()
  await world.close()
  await served.close()
})

const ask = async (client: Centrifuge, data: unknown): Promise<unknown> =>
  (await client.rpc('lockstep.outcomes', data)).data
const stored = (id: string) => world.rows('select 1 from lockstep.operations where id = $1', [id])

describe('a question for outcomes', () => {
  it('is answered for what committed, what rolled back, what is under way, and what was never heard of', async () => {
    const [kept, failed, open, unheard] = [
      newOperationId(),
      newOperationId(),
      newOperationId(),
      newOperationId(),
    ]
    const reply = await world.addNote.call({ room: 'o', id: 'o1', text: 'x' }, { id: kept, user: 'ada' })
    await world.addNote.call({ room: 'o', id: 'o2', text: 'x', fail: true }, { id: failed, user: 'ada' })
    let release = (): void => {}
    const gate = new Promise<void>((resolve) => (release = resolve))
    const running = world.lockstep.transaction({ name: 'open', user: 'ada', id: open }, () => gate)

    expect(await ask(ada, { ids: [kept, failed, open, unheard] })).toMatchObject({
      outcomes: [
        reply,
        { outcome: 'rolled_back', operationId: failed, notice: { transactionId: failed } },
        { outcome: 'pending', operationId: open },
        { outcome: 'never_received', operationId: unheard },
      ],
    })
    release()
    await running

    // The id that was never heard of is closed: a late copy cannot commit.
    const late = await ada.rpc('add_note', { id: unheard, input: { room: 'o', id: 'late', text: 'x' } })
    expect(late.data).toMatchObject({ outcome: 'rolled_back', operationId: unheard })
    expect(await world.rows(`select 1 from notes where id = 'late'`)).toEqual([])
  })

  it('is answered for each id by itself: one that is older than outcomes are kept holds up no other', async () => {
    const [kept, unheard] = [newOperationId(), newOperationId()]
    const reply = await world.addNote.call({ room: 'o', id: 'o9', text: 'x' }, { id: kept, user: 'ada' })
    const old = v7({ msecs: Date.now() - 8 * 86_400_000 })
    expect(await ask(ada, { ids: [old, kept, unheard] })).toMatchObject({
      outcomes: [
        { outcome: 'expired', operationId: old },
        reply,
        { outcome: 'never_received', operationId: unheard },
      ],
    })
    expect(await stored(old)).toEqual([])
  })

  it("about another user's operation is answered as about an id that was never heard of, and changes nothing of it", async () => {
    const id = newOperationId()
    await world.addNote.call({ room: 'o', id: 'o3', text: 'private' }, { id, user: 'ada' })
    const unheard = { outcomes: [{ outcome: 'never_received', operationId: id }] }
    expect(await ask(eve, { ids: [id] })).toEqual(unheard)
    expect(await ask(ada, { ids: [id] })).toMatchObject({ outcomes: [{ outcome: 'committed' }] })
  })

  it.each([true, false])(
    "about another user's operation that runs tells nothing of it and closes nothing of it (with an intent: %s)",
    async (intent) => {
      const id = newOperationId()
      let release = (): void => {}
      const gate = new Promise<void>((resolve) => (release = resolve))
      const running = world.lockstep.transaction({ name: 'open', user: 'ada', id, intent }, async () => {
        await gate
        return 'saved'
      })
      const unheard = { outcomes: [{ outcome: 'never_received', operationId: id }] }
      expect(await ask(eve, { ids: [id] })).toEqual(unheard)
      expect(await ask(ada, { ids: [id] })).toMatchObject({ outcomes: [{ outcome: 'pending' }] })
      release()
      expect(await running).toBe('saved')
    },
  )

  it.each([
    ['a malformed id', { ids: ['not-a-uuid'] }, 401, 'LS_OPERATION_ID_INVALID'],
    ['an id in upper case', { ids: [newOperationId().toUpperCase()] }, 401, 'LS_OPERATION_ID_INVALID'],
    ['a number for an id', { ids: [1] }, 401, 'LS_OPERATION_ID_INVALID'],
    ['101 ids', { ids: Array.from({ length: 101 }, newOperationId) }, 400, 'LS_INPUT_INVALID'],
    ['no ids', {}, 400, 'LS_INPUT_INVALID'],
    ['nothing', null, 400, 'LS_INPUT_INVALID'],
  ])('with %s is refused with its code', async (_, data, code, reason) => {
    await expect(ask(ada, data)).rejects.toMatchObject({ code, message: expect.stringContaining(reason) })
  })

  it('with 10,000 ids is larger than a message may be: that connection ends, and no other', async () => {
    const greedy = await connected(centrifuge(served.url, 'greedy'))
    const ended = new Promise<string>((resolve) => greedy.on('disconnected', ({ reason }) => resolve(reason)))
    const ids = Array.from({ length: 10_000 }, newOperationId)
    await expect(ask(greedy, { ids })).rejects.toMatchObject({ message: 'connection closed' })
    expect(await ended).toBe('message size limit exceeded')
    expect(await stored(ids[0] ?? '')).toEqual([])
    expect(await ask(ada, { ids: [] })).toEqual({ outcomes: [] })
  })
})

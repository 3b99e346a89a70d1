// Drafts over a socket that the test scripts: pushes, joins with what is open, events that end them.
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { createClient, type Client, type DraftView } from '../../../src/client/index.ts'
import { envelope, epoch, FakeGateway, Queue, tokenOf } from './fake-gateway.ts'
import { eventually } from '../../support/eventually.ts'

let gateway: FakeGateway
let client: Client
const errors: unknown[] = []
const room = 'chat:1'

beforeEach(async () => {
  errors.length = 0
  gateway = await FakeGateway.start()
  client = createClient({
    url: gateway.url,
    getToken: () => Promise.resolve(tokenOf('ann')),
    websocket: WebSocket,
    storage: null,
    minReconnectDelayMs: 1,
    maxReconnectDelayMs: 4,
    onError: (error) => errors.push(error),
  })
})
afterEach(async () => {
  client.close()
  await gateway.close()
})

/** Answers the next subscriptions with these drafts and runs. */
function answerWith(data: object, offset = 0): void {
  gateway.onSubscribe = (request) =>
    ({
      recoverable: true,
      positioned: true,
      epoch,
      offset: request.recover === true ? (request.offset ?? 0) : offset,
      ...(request.recover === true ? { was_recovering: true, recovered: true } : {}),
      data,
    }) as never
}
const push = (from: number, chunks: readonly unknown[], more: object = {}, runId: string | null = null) => ({
  type: 'draft',
  draft: { operation: 'op', name: 'answer', attempt: 1, from, after: 0, ...more },
  runId,
  chunks,
})
const open = (chunks: readonly unknown[], more: object = {}) => ({
  operation: 'op',
  name: 'answer',
  attempt: 1,
  runId: null,
  from: 1,
  chunks,
  ...more,
})
const state = (runId: string, attempt: number) => ({
  runId,
  task: 'answer',
  state: 'running',
  phase: 'active',
  attempt,
  startedBy: 'ann',
})

async function listenTo(name = room) {
  const channel = client.channel(name)
  const drafts = new Queue<DraftView>()
  channel.onDraft('answer', (draft) => drafts.push(draft))
  await channel.ready()
  const connection = await gateway.connects.next()
  return { channel, drafts, connection }
}
const shown = ({ text, state: is }: DraftView) => [text, is]

describe('a draft', () => {
  test('grows, and is over in the turn of the event that committed it', async () => {
    const { channel, drafts, connection } = await listenTo()
    const seen: unknown[] = []
    channel.on('message.created', () => seen.push('event'))
    channel.onDraft('answer', (draft) => seen.push(draft.state))
    connection.publish(room, undefined, push(1, ['Hel']))
    connection.publish(room, undefined, push(2, ['lo', ' you']))
    expect(shown(await drafts.next())).toEqual(['Hel', 'open'])
    expect(shown(await drafts.next())).toEqual(['Hello you', 'open'])
    connection.publish(room, 1, envelope('message.created', {}, { operationId: 'op' }))
    expect(shown(await drafts.next())).toEqual(['Hello you', 'committed'])
    expect(seen).toEqual(['open', 'open', 'event', 'committed'])
    expect(errors).toEqual([])
  })

  test('is shown whole to a page that comes in the middle of it, and to a listener that comes late', async () => {
    answerWith({ drafts: [open(['Once', ' upon'])], runs: [] }, 3)
    const { channel, drafts, connection } = await listenTo()
    expect(shown(await drafts.next())).toEqual(['Once upon', 'open'])
    connection.publish(room, undefined, push(2, [' upon', ' a'], { after: 3 }))
    expect(shown(await drafts.next())).toEqual(['Once upon a', 'open'])
    const late = new Queue<DraftView>()
    channel.onDraft('answer', (draft) => late.push(draft))
    expect(shown(await late.next())).toEqual(['Once upon a', 'open'])
  })

  test('with a hole is asked for anew', async () => {
    const { drafts, connection } = await listenTo()
    await gateway.subscribes.next()
    connection.publish(room, 1, envelope('other', {}, { operationId: 'another' }))
    connection.publish(room, undefined, push(1, ['a']))
    expect(shown(await drafts.next())).toEqual(['a', 'open'])
    answerWith({ drafts: [open(['a', 'b', 'c', 'd'])], runs: [] })
    connection.publish(room, undefined, push(4, ['d']))
    expect(await gateway.subscribes.next()).toMatchObject({ recover: true, offset: 1 })
    expect(shown(await drafts.next())).toEqual(['abcd', 'open'])
  })

  test('that was over while the page was away is taken off the screen', async () => {
    answerWith({ drafts: [open(['a'])], runs: [] }, 1)
    const { drafts } = await listenTo()
    expect(shown(await drafts.next())).toEqual(['a', 'open'])
    answerWith({ drafts: [], runs: [] })
    gateway.cut()
    expect(shown(await drafts.next())).toEqual(['a', 'retracted'])
  })

  test("of a run is replaced by that of its next attempt, and is the run's", async () => {
    gateway.onRpc = () => ({
      data: { ...state('r1', 1), channel: room, steps: [], state: 'running' },
    })
    answerWith({ drafts: [open(['old'], { runId: 'r1' })], runs: [state('r1', 1)] }, 1)
    const { drafts, connection } = await listenTo()
    const run = client.run('answer', 'r1')
    expect(await drafts.next()).toMatchObject({ text: 'old', run: { id: 'r1', task: 'answer' } })
    await eventually(() => expect(run.draft('answer')).toMatchObject({ text: 'old' }))
    connection.publish(room, 2, envelope('run.state', state('r1', 2), { operationId: 'claim' }))
    expect(shown(await drafts.next())).toEqual(['old', 'retracted'])
    connection.publish(room, undefined, push(1, ['new'], { operation: 'op2', attempt: 2, after: 2 }, 'r1'))
    connection.publish(room, undefined, push(2, ['late'], {}, 'r1'))
    expect(shown(await drafts.next())).toEqual(['new', 'open'])
    expect(run.draft('answer')).toMatchObject({ text: 'new', state: 'open' })
    expect(run.draft('other')).toBeUndefined()
    connection.publish(room, 3, envelope('draft.retracted', {}, { operationId: 'op2' }))
    expect(shown(await drafts.next())).toEqual(['new', 'retracted'])
    expect(run.draft('answer')).toBeUndefined()
  })
})

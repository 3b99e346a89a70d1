// The health monitor on the whole system: the demo's chat on two nodes, people on sockets, alerts to a real receiver.
import { createHmac, timingSafeEqual } from 'node:crypto'
import { afterEach, describe, expect, test } from 'vitest'
import type { App } from '../../../examples/chat/server/chat.ts'
import type { Client } from '../../../src/client/index.ts'
import {
  LockstepError,
  newOperationId,
  signToken,
  type Alert,
  type LockstepHealth,
  type MonitorOptions,
} from '../../../src/index.ts'
import { startChatNode, type ChatNode } from '../../support/chat-node.ts'
import { createTestDatabase } from '../../support/database.ts'
import { centrifuge, connected, listen, serve } from '../../support/sockets.ts'
import { WebhookReceiver } from '../../support/webhook-receiver.ts'
import { createWorld, secret } from '../../support/world.ts'
import { RawClient } from '../gateway/harness.ts'
import { eventually } from '../../support/eventually.ts'

const opened: (() => unknown)[] = []
afterEach(async () => {
  for (const close of opened.splice(0).toReversed()) await close()
})

const none = {
  websocket_before_commit: 0,
  missing_rollback_notification: 0,
  transaction_boundary_violation: 0,
  agent_state_desync: 0,
  cache_stale: 0,
  isolation: 0,
}
const rollupMs = 300
const webhookSecret = 'a secret of the receiver of alerts'
const soon = { timeout: 20_000, interval: 100 }

async function startDatabase(): Promise<string> {
  const database = await createTestDatabase()
  opened.push(() => database.drop())
  return database.url
}

async function startNode(url: string, monitor: MonitorOptions = {}): Promise<ChatNode> {
  const node = await startChatNode(url, { rollupMs, ...monitor })
  opened.push(() => node.close())
  return node
}

/** Messages that each user sends: one fails after its insert, one shows itself 500 ms too early. */
const bodies = ['/fail', '/early', 'hello', 'how are you', 'bye']
const userCount = 10
const operations = userCount * bodies.length

async function talk(client: Client<App>): Promise<string[]> {
  const outcomes: string[] = []
  for (const body of bodies) {
    const { outcome } = await client.call('send_message', { conversationId: 'lobby', body }).outcome
    outcomes.push(outcome)
  }
  return outcomes
}

/** Connects half of the people to each node, and lets all send at once. */
async function scenario([first, second]: readonly [ChatNode, ChatNode]): Promise<void> {
  const people = await Promise.all(
    Array.from({ length: userCount }, (_, n) => (n % 2 === 0 ? first : second).person(`user${n}`)),
  )
  const outcomes = await Promise.all(people.map(talk))
  for (const those of outcomes) {
    expect(those).toEqual(['rolled_back', 'committed', 'committed', 'committed', 'committed'])
  }
}

const allCounted = async ({ lockstep }: ChatNode): Promise<void> => {
  expect(await lockstep.health.score()).toMatchObject({ operations })
}

/** Drops the figures that belong to one node alone. */
const ofCluster = ({ score, violations, gaps }: LockstepHealth) => ({ score, violations, gaps })

const figures = {
  count: expect.any(Number),
  average: expect.any(Number),
  p50: expect.any(Number),
  p99: expect.any(Number),
  max: expect.any(Number),
  min: expect.any(Number),
  early: expect.any(Number),
  over: expect.any(Number),
  thresholdMs: expect.any(Number),
} as object

describe('10 users × 5 operations', () => {
  test('in observe both violations are counted exactly, one alert is sent, and all of it outlives the nodes', async () => {
    const receiver = await new WebhookReceiver((response) => response.writeHead(204).end()).start()
    opened.push(() => receiver.stop())
    const url = await startDatabase()
    const told: Alert[] = []
    const alerts = {
      webhook: { url: receiver.url, secret: webhookSecret },
      onAlert: (alert: Alert) => void told.push(alert),
    }
    const nodes = [await startNode(url, { alerts }), await startNode(url, { alerts })] as const
    const [first, second] = nodes
    await first.setMode('observe')
    await eventually(() => {
      expect(second.lockstep.rollout.modeOf('send_message', { id: 'user0' })).toBe('observe')
    }, soon)
    await scenario(nodes)

    const violations = { ...none, websocket_before_commit: 10, missing_rollback_notification: 10 }
    for (const node of nodes) {
      await eventually(async () => expect((await node.health()).violations).toEqual(violations), soon)
      await eventually(() => allCounted(node), soon)
    }
    // Gaps come from both nodes, by two clocks; those of the other node come with its next roll-up.
    const { score, gaps } = await eventually(async () => {
      const health = await first.health()
      expect(health.gaps.websocket_db_gap.early).toBe(20)
      return health
    }, soon)
    expect(score).toBeLessThan(0.8)
    expect(gaps.websocket_db_gap).toEqual(figures)
    expect(gaps.websocket_db_gap.min).toBeLessThan(-450)
    await eventually(
      async () => expect(ofCluster(await second.health())).toEqual(ofCluster(await first.health())),
      soon,
    )
    const found = await first.lockstep.health.violations()
    const early = found.find(({ kind }) => kind === 'websocket_before_commit')
    expect(early).toMatchObject({ operation: 'send_message', layers: ['database', 'websocket'] })
    expect(found.some(({ stack }) => stack?.includes('chat.ts'))).toBe(true)

    await eventually(() => expect(told.some(({ kind }) => kind === 'score_low')).toBe(true), soon)
    for (const node of nodes) await node.close()
    const low = told.filter(({ kind }) => kind === 'score_low')
    expect(low).toHaveLength(1)
    expect(low[0]?.score).toBeLessThan(0.8)
    const received = receiver.received.filter(({ body }) => typeOf(body) === 'lockstep.score_low')
    expect(received).toHaveLength(1)
    expect(received[0]?.headers['webhook-id']).toBe(low[0]?.id)
    expect(receiver.received.map(isGenuine)).toEqual(receiver.received.map(() => true))

    const later: Alert[] = []
    const after = await startNode(url, { alerts: { onAlert: (alert) => void later.push(alert) } })
    await eventually(() => allCounted(after), soon)
    expect((await after.health()).violations).toEqual(violations)
    const { score: shown, history } = await after.lockstep.health.dashboard()
    expect(shown).toMatchObject({ alert: 'firing', operations })
    expect(history.reduce((sum, point) => sum + point.operations, 0)).toBe(operations)
    await after.close()
    expect(later.filter(({ kind }) => kind !== 'violation')).toEqual([])
  }, 60_000)

  test('in enforce the same code gives none, and the distance to the sockets and to the clients is measured', async () => {
    const url = await startDatabase()
    const told: Alert[] = []
    const alerts = { onAlert: (alert: Alert) => void told.push(alert) }
    const nodes = [await startNode(url, { alerts }), await startNode(url, { alerts })] as const
    const [first, second] = nodes
    await scenario(nodes)
    for (const node of nodes) await eventually(() => allCounted(node), soon)
    // Gaps are of each message on both nodes, and of each notice on its user's node.
    await eventually(async () => {
      const { gaps } = await first.health()
      expect(gaps.websocket_db_gap).toMatchObject({ count: 2 * (operations - userCount), early: 0 })
      expect(gaps.rollback_notice_gap).toMatchObject({ count: userCount, early: 0 })
      expect(gaps.node_bus_gap.count).toBeGreaterThan(0)
      expect(gaps.client_ack_gap).toEqual(figures)
      expect(gaps.client_ack_gap.count).toBeGreaterThan(0)
    }, soon)
    const { gaps, score, violations, status } = await first.health()
    expect([status, violations]).toEqual(['ok', none])
    expect(score).toBeGreaterThanOrEqual(0.85)
    expect(gaps.websocket_db_gap.average).toBeLessThan(50)
    expect(gaps.client_ack_gap).toMatchObject({ early: 0, thresholdMs: 1_000 })
    expect(Object.keys(gaps).toSorted()).toEqual([
      'agent_state_sync',
      'cache_db_sync',
      'client_ack_gap',
      'node_bus_gap',
      'rollback_notice_gap',
      'websocket_db_gap',
    ])
    await eventually(
      async () => expect(ofCluster(await second.health())).toEqual(ofCluster(await first.health())),
      soon,
    )

    // A monitor that sleeps would find nothing either, so one violation is planted last, and must be all that it finds.
    await first.lockstep.rollout.set('planted', 'observe')
    const fail = (): Promise<never> => Promise.reject(new LockstepError('LS_INPUT_INVALID'))
    await first.lockstep.transaction({ name: 'planted', user: 'user0' }, fail).catch(() => {})
    await eventually(async () => {
      expect((await second.health()).violations).toEqual({ ...none, missing_rollback_notification: 1 })
    }, soon)
    expect(told.filter(({ kind }) => kind !== 'violation')).toEqual([])
  }, 60_000)
})

test('forged acknowledgements move neither score nor violations, and at most one figure for each event', async () => {
  const world = await createWorld({ monitor: { rollupMs } })
  opened.push(() => world.close())
  const served = await serve(world)
  opened.push(() => served.close())
  const client = await connected(centrifuge(served.url, 'control'))
  opened.push(() => client.disconnect())
  const { inbox } = await listen(client, 'room:1')
  const liar = await RawClient.open(served.url)
  opened.push(() => liar.socket.terminate())
  await liar.ask({ id: 1, connect: { token: await signToken(secret, 'liar', 3_600) } })
  await liar.ask({ id: 2, subscribe: { channel: 'room:1' } })
  const count = 50
  const note = () => {
    const input = { room: '1', id: newOperationId(), text: 'x' }
    return world.addNote.call(input, { user: 'ann' })
  }
  for (let n = 0; n < count; n += 1) await note()
  const pushes = await inbox.until(({ length }) => length === count)
  const asked = pushes.filter(({ tags }) => tags?.['ack'] !== undefined).length
  expect(asked).toBeGreaterThan(0)
  const { health } = world.lockstep
  await eventually(async () => expect(await health.score()).toMatchObject({ operations: count }), soon)
  const before = await health.score()
  const offsets = Array.from({ length: 2 * count }, (_, n) => n + 1)
  const lies = [-1, -0.001, 1e9, 1e308, 60_000, 0, 0, 0.5].flatMap((heldMs) =>
    ['room:1', 'room:2', 'user:ann'].map((channel) => offsets.map((offset) => [channel, offset, heldMs])),
  )
  for (const acks of lies) {
    for (let from = 0; from < acks.length; from += 50) {
      liar.send({ send: { data: { acks: acks.slice(from, from + 50) } } })
    }
  }
  for (const acks of [null, {}, 'x', [[]], Array.from({ length: 51 }, () => ['room:1', 1, 0])]) {
    liar.send({ send: { data: { acks } } })
  }
  await liar.settled()
  const { overall, operations: ended, unhealthy } = await health.score()
  expect([overall, ended, unhealthy]).toEqual([before.overall, before.operations, before.unhealthy])
  // An acknowledgement counts once, if it is of an event sent to that client, and fits into the time since.
  await eventually(async () => {
    const { gaps, violations } = await health.report()
    expect(violations).toEqual(none)
    expect(gaps.client_ack_gap.count).toBeGreaterThan(0)
    expect(gaps.client_ack_gap.count).toBeLessThanOrEqual(asked)
    expect(gaps.client_ack_gap.early).toBe(0)
  }, soon)
  expect((await health.dashboard()).unwatched).toBeLessThanOrEqual(asked)
  await note()
  await inbox.until(({ length }) => length === count + 1)
})

function typeOf(body: string): unknown {
  return (JSON.parse(body) as { readonly type?: unknown }).type
}

/** Checks the signature as the monitoring page tells receivers to do it. */
function isGenuine({ headers, body }: WebhookReceiver['received'][number]): boolean {
  const signed = `${String(headers['webhook-id'])}.${String(headers['webhook-timestamp'])}.${body}`
  const expected = `v1,${createHmac('sha256', webhookSecret).update(signed).digest('base64')}`
  return timingSafeEqual(Buffer.from(String(headers['webhook-signature'])), Buffer.from(expected))
}

// The modes of a rollout: when events leave, and who is notified, on real sockets and a real database.
import { InMemoryProvider } from '@openfeature/server-sdk'
import { afterEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { z } from 'zod'
import { createClient } from '../../../src/client/index.ts'
import { newOperationId, serverUser, signToken, type RolloutOptions } from '../../../src/index.ts'
import { touchedEvent } from '../../../src/protocol/index.ts'
import { centrifuge, connected, Inbox, listen, serve, type Served } from '../../support/sockets.ts'
import { createWorld, room, secret, type World } from '../../support/world.ts'

const opened: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of opened.splice(0).toReversed()) await close()
})

interface Gate {
  readonly opened: Promise<void>
  open(): void
}
function createGate(): Gate {
  let open = (): void => {}
  const promise = new Promise<void>((resolve) => (open = resolve))
  return { opened: promise, open }
}

interface Node {
  readonly world: World
  readonly served: Served
  readonly post: ReturnType<typeof definePost>
}

function definePost({ lockstep }: World, hold: () => Promise<void>) {
  return lockstep.operation('post', {
    input: z.object({ id: z.string(), fail: z.boolean() }),
    async run({ input, tx }) {
      await tx.db.query('insert into notes values ($1, $1)', [input.id])
      tx.emit(room({ id: '1' }), 'counted', { n: 1 })
      await hold()
      if (input.fail) throw new Error('cannot')
      return { id: input.id }
    },
  })
}

async function start(
  rollout: RolloutOptions,
  hold: () => Promise<void> = async () => {},
  databaseUrl?: string,
): Promise<Node> {
  const world = await createWorld({ rollout, ...(databaseUrl === undefined ? {} : { databaseUrl }) })
  opened.push(() => world.close())
  const served = await serve(world)
  opened.push(() => served.close())
  return { world, served, post: definePost(world, hold) }
}

async function hear({ served }: Node, user: string, channel: string) {
  const client = await connected(centrifuge(served.url, user))
  opened.push(async () => client.disconnect())
  return (await listen(client, channel)).inbox
}

/** Listens as a page does, with the client of this package. `subscribes` counts how often it has asked for the channel. */
function hearAsPage(url: string, name: string) {
  let asked = 0
  class CountingSocket extends WebSocket {
    override send(data: string): void {
      if (data.includes('"subscribe"')) asked += 1
      super.send(data)
    }
  }
  const client = createClient({
    url,
    getToken: () => signToken(secret, 'page', 3_600),
    websocket: CountingSocket,
    storage: null,
  })
  opened.push(async () => client.close())
  const inbox = new Inbox<number | undefined>()
  const channel = client.channel(name)
  channel.on('*', (_, { offset }) => inbox.push(offset))
  return { inbox, channel, subscribes: () => asked }
}

/** Notices as the user's own socket brings them. */
async function hearNotices({ served }: Node, user: string) {
  const client = centrifuge(served.url, user)
  opened.push(async () => client.disconnect())
  const seen: unknown[] = []
  client.on('publication', ({ channel, data }) => seen.push({ channel, data: data as unknown }))
  await connected(client)
  return seen
}

describe.each(['off', 'observe'] as const)('in mode %s', (mode) => {
  it('an event leaves before the commit, without an offset and without a place in the log, once, and the head moves', async () => {
    const gate = createGate()
    const node = await start({ operations: { post: mode } }, () => gate.opened)
    const inbox = await hear(node, 'listener', 'room:1')
    const outcome = node.post.call({ id: 'a', fail: false }, { user: 'ann' })
    await inbox.until((items) => items.length === 1)
    // The event is on the screen while the row cannot be read yet.
    expect(await node.world.rows('select id from notes')).toEqual([])
    expect(inbox.items[0]).toMatchObject({ data: { type: 'counted', data: { n: 1 } } })
    expect(inbox.items[0]?.offset).toBe(undefined)
    gate.open()
    expect(await outcome).toMatchObject({
      outcome: 'committed',
      positions: { 'room:1': { offset: 1 } },
    })
    expect(await node.world.rows('select id from notes')).toEqual([{ id: 'a' }])
    // A later event arrives next, so none came between.
    await node.world.lockstep.rollout.set('post', 'enforce')
    await node.post.call({ id: 'b', fail: false }, { user: 'ann' })
    await inbox.until((items) => items.length === 2)
    expect(inbox.items[1]).toMatchObject({ offset: 2, tags: { skipped: '1' } })
    expect((await node.world.eventsOf('room:1')).map(({ type }) => type)).toEqual([touchedEvent, 'counted'])
  })

  it('an entry that is shown to nobody is no hole: not live, not after a recovery, not on another node', async () => {
    const node = await start({ operations: { post: mode } })
    const other = await start({ operations: { post: mode } }, undefined, node.world.url)
    const post = (id: string) => node.post.call({ id, fail: false }, { user: 'ann' })
    const heard = [node, other].map(({ served }) => hearAsPage(served.url, 'room:1'))
    for (const { channel } of heard) await channel.ready()
    await post('a')
    await post('b')
    await node.world.lockstep.rollout.set('post', 'enforce')
    await post('c')
    await post('d')
    const all = [undefined, undefined, 3, 4]
    for (const { inbox } of heard) {
      await inbox.until((items) => items.length === all.length)
      // Events without an offset come in no order with the others.
      expect(inbox.items.filter((offset) => offset !== undefined)).toEqual([3, 4])
    }
    for (const { subscribes } of heard) expect(subscribes()).toBe(1)
    const back = await connected(centrifuge(node.served.url, 'later'))
    opened.push(async () => back.disconnect())
    const late = await listen(back, 'room:1')
    await post('e')
    await late.inbox.until((items) => items.length === 1)
    expect(late.inbox.items[0]).toMatchObject({ offset: 5 })
  })

  it('an entry goes with the savepoint in which its event was emitted, and comes once for each channel', async () => {
    const node = await start({ mode })
    await node.world.lockstep.transaction({ name: 'touch', user: 'ann' }, async (tx) => {
      tx.emit(room({ id: '1' }), 'counted', { n: 1 })
      tx.emit(room({ id: '1' }), 'counted', { n: 2 })
      const inner = tx.transaction(async (nested) => {
        nested.emit(room({ id: '2' }), 'counted', { n: 3 })
        throw new Error('not this')
      })
      await expect(inner).rejects.toThrow('not this')
    })
    const touched = [{ type: touchedEvent, offset: '1' }]
    expect(await node.world.eventsOf('room:1')).toMatchObject(touched)
    expect(await node.world.eventsOf('room:2')).toEqual([])
  })

  it('a rollback is answered to the caller and reported to nobody', async () => {
    const node = await start({ operations: { post: mode } })
    const notices = await hearNotices(node, 'ann')
    const id = newOperationId()
    const outcome = await node.post.call({ id: 'a', fail: true }, { id, user: 'ann' })
    expect(outcome).toMatchObject({ outcome: 'rolled_back', notice: { transactionId: id } })
    expect(await node.world.eventsOf('user:ann')).toEqual([])
    const [row] = await node.world.rows<{ state: string; notice: unknown }>(
      'select state, notice from lockstep.operations where id = $1',
      [id],
    )
    // The notice that should have been sent is kept for the health monitor, in modes that it watches.
    const kept = mode === 'off' ? null : outcome.outcome === 'rolled_back' && outcome.notice
    expect(row).toEqual({ state: 'rolled_back', notice: kept })
    await node.world.lockstep.rollout.set('post', 'enforce')
    const told = newOperationId()
    await node.post.call({ id: 'b', fail: true }, { id: told, user: 'ann' })
    await expect.poll(() => notices.length).toBe(1)
    expect(notices[0]).toMatchObject({ data: { data: { transactionId: told } } })
  })

  it('one id still has one effect', async () => {
    const node = await start({ operations: { post: mode } })
    const input = { id: 'a', fail: false }
    const options = { id: newOperationId(), user: 'ann' }
    const outcomes = await Promise.all([node.post.call(input, options), node.post.call(input, options)])
    expect(outcomes[0]).toEqual(outcomes[1])
    expect(await node.post.call(input, { ...options, repeat: true })).toEqual(outcomes[0])
    expect(await node.world.rows('select id from notes')).toHaveLength(1)
  })
})

it('an early event reaches the subscribers of other nodes, too', async () => {
  const gate = createGate()
  const first = await start({ mode: 'observe' }, () => gate.opened)
  const second = await start({}, undefined, first.world.url)
  const inbox = await hear(second, 'listener', 'room:1')
  // The bus may still be on its way to hear the channel: what is in no log is then missed, so it is sent again.
  let tries = 0
  const outcomes: Promise<unknown>[] = []
  await expect
    .poll(
      () => {
        tries += 1
        outcomes.push(first.post.call({ id: `a${tries}`, fail: false }, { user: 'ann' }))
        return inbox.items.length
      },
      { interval: 100 },
    )
    .toBeGreaterThan(0)
  expect(await first.world.rows('select id from notes')).toEqual([])
  gate.open()
  await Promise.all(outcomes)
})

describe('a change at run time', () => {
  it('counts here at once, on other nodes within 5 s, and for those that start later', async () => {
    const first = await start({})
    const second = await start({}, undefined, first.world.url)
    const modeAt = ({ world }: Node) => world.lockstep.rollout.modeOf('post', { id: 'ann' })
    expect([modeAt(first), modeAt(second)]).toEqual(['enforce', 'enforce'])
    await first.world.lockstep.rollout.set('post', { mode: 'observe', percentage: 100 })
    expect(modeAt(first)).toBe('observe')
    await expect.poll(() => modeAt(second), { timeout: 5_000 }).toBe('observe')
    const third = await start({ operations: { post: 'off' } }, undefined, first.world.url)
    expect(modeAt(third)).toBe('observe')
    expect(third.world.lockstep.rollout.list()).toContainEqual({
      operation: 'post',
      mode: 'observe',
      percentage: 100,
      otherwise: 'off',
      source: 'stored',
    })
    await third.world.lockstep.rollout.set('post', undefined)
    expect(modeAt(third)).toBe('off')
    await expect.poll(() => modeAt(first), { timeout: 5_000 }).toBe('enforce')
  })

  it('of all operations leaves those with a setting of their own', async () => {
    const { world } = await start({ operations: { post: 'observe' } })
    await world.lockstep.rollout.set('*', 'off')
    expect(world.lockstep.rollout.modeOf('post', { id: 'ann' })).toBe('observe')
    expect(world.lockstep.rollout.modeOf('add_note', { id: 'ann' })).toBe('off')
  })

  it('that is none is refused, and changes nothing', async () => {
    const { world } = await start({})
    const { rollout } = world.lockstep
    const bad: [string, unknown][] = [
      ['post', 'on'],
      ['post', { mode: 'enforce', percentage: 101 }],
      ['', 'off'],
      ['x'.repeat(201), 'off'],
    ]
    for (const [name, setting] of bad) {
      await expect(rollout.set(name, setting as never)).rejects.toMatchObject({ code: 'LS_CONFIG_INVALID' })
    }
    await rollout.set(`'; drop table lockstep.rollouts; --`, 'off')
    expect(rollout.modeOf('post', { id: 'ann' })).toBe('enforce')
    expect(rollout.list()).toHaveLength(2)
  })
})

describe('operations of Lockstep itself', () => {
  it.each([
    ['off by default', { mode: 'off' }],
    ['observed by default', { mode: 'observe' }],
    ['off by a provider', { provider: { resolveStringEvaluation: async () => ({ value: 'off' }) } }],
  ] as const)(
    'are enforced where others are %s: a revocation reaches the other nodes',
    async (_, rollout) => {
      const first = await start(rollout)
      const second = await start(rollout, undefined, first.world.url)
      const client = await connected(centrifuge(second.served.url, 'eve'))
      opened.push(async () => client.disconnect())
      const ended = new Promise((resolve) => client.on('disconnected', resolve))
      await first.world.lockstep.revoke({ user: 'eve' })
      expect(await ended).toMatchObject({ code: 3507, reason: 'revoked' })
    },
  )

  it('cannot be set, and the setting of all others is not theirs', async () => {
    await expect(start({ operations: { 'lockstep.revoke': 'off' } })).rejects.toMatchObject({
      code: 'LS_CONFIG_INVALID',
    })
    const { world } = await start({})
    const { rollout } = world.lockstep
    await expect(rollout.set('lockstep.revoke', 'observe')).rejects.toMatchObject({
      code: 'LS_CONFIG_INVALID',
      message: expect.stringContaining('always run in the mode "enforce"'),
    })
    await rollout.set('*', 'off')
    expect(rollout.modeOf('lockstep.revoke', serverUser)).toBe('enforce')
    expect(rollout.settledModeOf('lockstep.revoke', serverUser.id)).toBe('enforce')
  })

  it('have names that an application cannot give to its own', async () => {
    const { world } = await start({})
    const run = (name: string) => world.lockstep.transaction({ name, user: 'ada' }, async () => {})
    await expect(run('lockstep.revoke')).rejects.toMatchObject({
      code: 'LS_CONFIG_INVALID',
      message: expect.stringContaining("Lockstep's own"),
    })
  })
})

describe('a provider of feature flags', () => {
  const flag = (defaultVariant: string) => ({
    disabled: false,
    variants: { off: 'off', observe: 'observe', enforce: 'enforce', nonsense: 'sideways' },
    defaultVariant,
    contextEvaluator: (context: { targetingKey?: string }) =>
      context.targetingKey === 'ann' ? 'off' : defaultVariant,
  })

  it('of OpenFeature is asked with the user, and counts before the settings', async () => {
    const provider = new InMemoryProvider({ 'lockstep.mode.post': flag('observe') })
    const { world } = await start({ provider })
    const { rollout } = world.lockstep
    expect(await rollout.modeOf('post', { id: 'ann' })).toBe('off')
    expect(await rollout.modeOf('post', { id: 'bob' })).toBe('observe')
    expect(await rollout.modeOf('add_note', { id: 'bob' })).toBe('enforce')
  })

  it('that does not know leaves it to the settings, and says so once', async () => {
    const provider = new InMemoryProvider({ 'lockstep.mode.post': flag('nonsense') })
    const node = await start({ provider, operations: { post: 'observe' } })
    for (let n = 0; n < 3; n++)
      expect(await node.world.lockstep.rollout.modeOf('post', { id: 'bob' })).toBe('observe')
    const warnings = node.world.logger.lines.filter(({ message }) =>
      message.startsWith('the rollout provider has no'),
    )
    expect(warnings).toHaveLength(1)
    expect(await node.post.call({ id: 'a', fail: false }, { user: 'bob' })).toMatchObject({
      outcome: 'committed',
    })
  })
  it('that never answers leaves it to the settings, too: an operation that was accepted has to end', async () => {
    const provider = { resolveStringEvaluation: () => new Promise<never>(() => {}) }
    const node = await start({ provider, operations: { post: 'observe' } })
    const outcome = await node.post.call({ id: 'a', fail: false }, { user: 'bob' })
    expect(outcome).toMatchObject({ outcome: 'committed', positions: {} })
    expect(node.world.logger.lines).toContainEqual(
      expect.objectContaining({ message: 'the rollout provider has no answer; the setting counts' }),
    )
  })
})

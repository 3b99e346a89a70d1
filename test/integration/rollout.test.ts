// The modes of a rollout: what leaves when, and who is told, on real sockets and a real database.
import { InMemoryProvider } from '@openfeature/server-sdk'
import { afterEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { newOperationId, serverUser, type RolloutOptions } from '../../src/index.ts'
import { centrifuge, connected, listen, serve, type Served } from '../support/sockets.ts'
import { createWorld, room, type World } from '../support/world.ts'

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
  it('an event leaves before the commit, without an offset and without a place in the log, and once', async () => {
    const gate = createGate()
    const node = await start({ operations: { post: mode } }, () => gate.opened)
    const inbox = await hear(node, 'listener', 'room:1')
    const outcome = node.post.call({ input: { id: 'a', fail: false }, user: 'ann' })
    await inbox.until((items) => items.length === 1)
    // It is on the screen, and nobody can read the row yet.
    expect(await node.world.rows('select id from notes')).toEqual([])
    expect(inbox.items[0]).toMatchObject({ data: { type: 'counted', data: { n: 1 } } })
    expect(inbox.items[0]?.offset).toBe(undefined)
    gate.open()
    expect(await outcome).toMatchObject({ outcome: 'committed', positions: {} })
    expect(await node.world.rows('select id from notes')).toEqual([{ id: 'a' }])
    // What comes after shows that nothing came between.
    await node.world.lockstep.rollout.set('post', 'enforce')
    await node.post.call({ input: { id: 'b', fail: false }, user: 'ann' })
    await inbox.until((items) => items.length === 2)
    expect(inbox.items[1]?.offset).toBe(1)
    expect(await node.world.eventsOf('room:1')).toHaveLength(1)
  })

  it('a rollback is answered to the caller and told to nobody', async () => {
    const node = await start({ operations: { post: mode } })
    const notices = await hearNotices(node, 'ann')
    const id = newOperationId()
    const outcome = await node.post.call({ id, input: { id: 'a', fail: true }, user: 'ann' })
    expect(outcome).toMatchObject({ outcome: 'rolled_back', notice: { transactionId: id } })
    expect(await node.world.eventsOf('user:ann')).toEqual([])
    const [row] = await node.world.rows<{ state: string; notice: unknown }>(
      'select state, notice from lockstep.operations where id = $1',
      [id],
    )
    // What should have been told is kept for the health monitor, where it watches.
    const kept = mode === 'off' ? null : outcome.outcome === 'rolled_back' && outcome.notice
    expect(row).toEqual({ state: 'rolled_back', notice: kept })
    await node.world.lockstep.rollout.set('post', 'enforce')
    const told = newOperationId()
    await node.post.call({ id: told, input: { id: 'b', fail: true }, user: 'ann' })
    await expect.poll(() => notices.length).toBe(1)
    expect(notices[0]).toMatchObject({ data: { data: { transactionId: told } } })
  })

  it('one id still has one effect', async () => {
    const node = await start({ operations: { post: mode } })
    const call = { id: newOperationId(), input: { id: 'a', fail: false }, user: 'ann' }
    const outcomes = await Promise.all([node.post.call(call), node.post.call(call)])
    expect(outcomes[0]).toEqual(outcomes[1])
    expect(await node.post.call({ ...call, repeat: true })).toEqual(outcomes[0])
    expect(await node.world.rows('select id from notes')).toHaveLength(1)
  })
})

it('an early event reaches the subscribers of other nodes, too', async () => {
  const gate = createGate()
  const first = await start({ default: 'observe' }, () => gate.opened)
  const second = await start({}, undefined, first.world.url)
  const inbox = await hear(second, 'listener', 'room:1')
  // The bus may still be on its way to hear the channel: what is in no log is then missed, so it is sent again.
  let tries = 0
  const outcomes: Promise<unknown>[] = []
  await expect
    .poll(
      () => {
        tries += 1
        outcomes.push(first.post.call({ input: { id: `a${tries}`, fail: false }, user: 'ann' }))
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
    ['off by default', { default: 'off' }],
    ['observed by default', { default: 'observe' }],
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
    expect(await node.post.call({ input: { id: 'a', fail: false }, user: 'bob' })).toMatchObject({
      outcome: 'committed',
    })
  })
  it('that never answers leaves it to the settings, too: an operation that was accepted has to end', async () => {
    const provider = { resolveStringEvaluation: () => new Promise<never>(() => {}) }
    const node = await start({ provider, operations: { post: 'observe' } })
    const outcome = await node.post.call({ input: { id: 'a', fail: false }, user: 'bob' })
    expect(outcome).toMatchObject({ outcome: 'committed', positions: {} })
    expect(node.world.logger.lines).toContainEqual(
      expect.objectContaining({ message: 'the rollout provider has no answer; the setting counts' }),
    )
  })
})

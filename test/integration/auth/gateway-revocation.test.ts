// Revocations take effect at once, on every node, for official clients (I8).
import { Centrifuge } from 'centrifuge'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { LockstepError, silentLogger, type Queryable } from '../../../src/core/index.ts'
import {
  createTokenAuthenticator,
  RevocationFeed,
  type AuthQuestion,
  type Identity,
} from '../../../src/auth/index.ts'
import { fromPool } from '../../../src/index.ts'
import { createTestDatabase, type TestDatabase } from '../../support/database.ts'
import { centrifuge, connected, listen, serve, type Served } from '../../support/sockets.ts'
import { createWorld, secret, type World } from '../../support/world.ts'
import {
  MemoryEvents,
  RawClient,
  secret as gatewaySecret,
  signal,
  startWorld,
  token,
} from '../gateway/harness.ts'
import { ManualClock } from '../../support/manual-clock.ts'

describe('on two nodes over one database, with official clients', () => {
  let database: TestDatabase
  const nodes: { world: World; served: Served }[] = []
  const clients: Centrifuge[] = []

  beforeAll(async () => {
    database = await createTestDatabase()
    const check = createTokenAuthenticator({ secret })
    const auth = async (question: AuthQuestion): Promise<Identity> => {
      const { user } = await check(question.token ?? '')
      return { user: { ...user, sessionId: `${user.id}-session` } }
    }
    for (let n = 0; n < 2; n += 1) {
      const world = await createWorld({ databaseUrl: database.url, auth, headCheckMs: 50 })
      nodes.push({ world, served: await serve(world) })
    }
  })
  afterAll(async () => {
    for (const client of clients) client.disconnect()
    for (const { world, served } of nodes) {
      await world.close()
      await served.close()
    }
    await database.drop()
  })

  const node = (n: number) => nodes[n] as { world: World; served: Served }
  const connect = (n: number, user: string): Promise<Centrifuge> => {
    const client = centrifuge(node(n).served.url, user)
    clients.push(client)
    return connected(client)
  }
  const add = (room: string, id: string): Promise<unknown> =>
    node(0).world.addNote.call({ room, id, text: id }, { user: 'writer' })

  test.each([
    ['the node that was told', 0],
    ['another node', 1],
  ])('a channel, on %s: nothing newer arrives, and others go on', async (_name, n) => {
    const [ada, bob] = await Promise.all([connect(n, `ada${n}`), connect(n, `bob${n}`)])
    const [a, b] = await Promise.all([listen(ada, `room:r${n}`), listen(bob, `room:r${n}`)])
    await add(`r${n}`, `before${n}`)
    await Promise.all([a, b].map(({ inbox }) => inbox.until((items) => items.length === 1)))
    const ended = new Promise<unknown>((resolve) => a.subscription.once('unsubscribed', resolve))
    await node(0).world.lockstep.revoke({ user: `ada${n}`, channel: `room:r${n}` })
    if (n === 0) await add(`r${n}`, `after${n}`)
    expect(await ended).toMatchObject({ code: 2000, reason: 'permission revoked' })
    if (n === 1) await add(`r${n}`, `after${n}`)
    await b.inbox.until((items) => items.length === 2)
    // Asks through the same connection, so that frames on their way before the revocation have arrived.
    await ada.rpc('lockstep.outcomes', { ids: [] })
    expect(a.inbox.items.map(({ offset }) => offset)).toEqual([1])
    expect(a.subscription.state).toBe('unsubscribed')
  })

  test.each([
    ['the node that was told', 0, { user: 'eve0' }],
    ['another node', 1, { user: 'eve1', session: 'eve1-session' }],
  ])('a user or a session, on %s: closed for good', async (_name, n, revocation) => {
    const [eve, other] = await Promise.all([connect(n, `eve${n}`), connect(n, `other${n}`)])
    const ended = new Promise<unknown>((resolve) => eve.once('disconnected', resolve))
    await node(0).world.lockstep.revoke({ user: `eve${n}`, session: 'another' })
    await node(0).world.lockstep.revoke(revocation)
    expect(await ended).toMatchObject({ code: 3507, reason: 'revoked' })
    expect(other.state).toBe('connected')
  })

  test('no client hears of revocations, whoever they are about', async () => {
    const ada = await connect(0, 'curious')
    const subscription = ada.newSubscription('lockstep:revocations')
    const refused = new Promise<unknown>((resolve) => subscription.once('unsubscribed', resolve))
    subscription.subscribe()
    expect(await refused).toMatchObject({ code: 102 })
  })

  test('a user id that is none is refused', async () => {
    const revoking = node(0).world.lockstep.revoke({ user: 'änn' })
    await expect(revoking).rejects.toMatchObject({ code: 'LS_USER_ID_INVALID' })
  })
})

describe('what is just being asked for', () => {
  test('a resume that is being read from the log while its channel is revoked gets nothing', async () => {
    const gate = signal()
    const at = await startWorld()
    const client = await RawClient.connect(at, 'ann')
    at.events.append('room:1', 'old')
    at.events.gates.set('room:1', gate.promise)
    client.send({ id: 2, subscribe: { channel: 'room:1', recover: true, offset: 0, epoch: 'e1' } })
    await client.settled()
    at.gateway.revoke({ user: 'ann', channel: 'room:1' })
    gate.fire()
    expect(await client.next()).toMatchObject({ id: 2, error: { code: 103 } })
    at.events.append('room:1', 'new')
    await client.settled()
    expect(JSON.stringify(client.messages)).not.toMatch(/"old"|"new"/)
    await at.stop()
  })

  test('a token that is being checked while its user is revoked does not open a connection', async () => {
    const [asked, gate] = [signal(), signal()]
    const check = createTokenAuthenticator({ secret: gatewaySecret })
    const at = await startWorld({
      ports: {
        authenticate: async ({ token: given }) => {
          const identity = await check(given)
          asked.fire()
          await gate.promise
          return identity
        },
      },
    })
    const client = await RawClient.open(at.url)
    client.send({ id: 1, connect: { token: await token('ann') } })
    await asked.promise
    at.gateway.revoke({ user: 'bob' })
    at.gateway.revoke({ user: 'ann' })
    gate.fire()
    expect(await client.closed).toEqual({ code: 3500, reason: 'invalid token' })
    await at.stop()
  })

  test('a revocation right behind the check of a token still counts, whenever it comes', async () => {
    const check = createTokenAuthenticator({ secret: gatewaySecret })
    let turns = 0
    let done = signal()
    const at = await startWorld({
      ports: {
        authenticate: async ({ token: given }) => {
          const identity = await check(given)
          const behind = async (): Promise<void> => {
            for (let turn = 0; turn < turns; turn += 1) await Promise.resolve()
            at.gateway.revoke({ user: 'ann' })
            done.fire()
          }
          void behind()
          return identity
        },
      },
    })
    for (turns = 0; turns < 12; turns += 1) {
      done = signal()
      const client = await RawClient.open(at.url)
      client.send({ id: 1, connect: { token: await token('ann') } })
      await done.promise
      const stillOpen = client.settled().then(() => 'open')
      expect(await Promise.race([client.closed, stillOpen]), `${turns} turns`).not.toBe('open')
    }
    await at.stop()
  })

  test('a resume from an old offset after a revocation gets nothing', async () => {
    const members = new Set(['ann'])
    const { authorizeSubscription } = membersOnly(members)
    const at = await startWorld({ ports: { authorizeSubscription } })
    const client = await RawClient.connect(at, 'ann')
    expect(await client.ask({ id: 2, subscribe: { channel: 'room:1' } })).toMatchObject({ subscribe: {} })
    at.events.append('room:1', 'old')
    await client.next()
    members.delete('ann')
    at.gateway.revoke({ user: 'ann', channel: 'room:1' })
    at.events.append('room:1', 'new')
    expect(await client.next()).toMatchObject({ push: { unsubscribe: { code: 2000 } } })
    const resume = { channel: 'room:1', recover: true, offset: 0, epoch: 'e1' }
    expect(await client.ask({ id: 3, subscribe: resume })).toMatchObject({ id: 3, error: { code: 103 } })
    expect(JSON.stringify(client.messages)).not.toContain('new')
    await at.stop()
  })
})

describe('asked again every reauthorizeMs', () => {
  test('a no ends a live subscription, a check that cannot answer does not', async () => {
    const members = new Set(['ann', 'bob'])
    const { authorizeSubscription, failing } = membersOnly(members)
    const clock = new ManualClock()
    const at = await startWorld({ clock, reauthorizeMs: 1_000, ports: { authorizeSubscription } })
    const [ann, bob] = await Promise.all([RawClient.connect(at, 'ann'), RawClient.connect(at, 'bob')])
    for (const client of [ann, bob]) await client.ask({ id: 2, subscribe: { channel: 'room:1' } })
    const round = async (): Promise<void> => {
      // A step starts when the answers to the one before have come.
      for (let step = 0; step < 40; step += 1) {
        clock.advance(1_000 / 32)
        await new Promise((resolve) => setImmediate(resolve))
      }
    }
    failing.add('ann')
    members.delete('ann')
    await round()
    expect(at.events.subscribersOf('room:1')).toBe(2)
    expect(at.logged).toContainEqual(
      expect.objectContaining({
        level: 'error',
        fields: expect.objectContaining({ channel: 'room:1', userId: 'ann' }) as unknown,
      }),
    )
    failing.clear()
    await round()
    expect(await ann.next()).toMatchObject({ push: { channel: 'room:1', unsubscribe: { code: 2000 } } })
    at.events.append('room:1', 'for members')
    expect(await bob.next()).toMatchObject({ push: { pub: { offset: 1 } } })
    await ann.settled()
    expect(JSON.stringify(ann.messages)).not.toContain('for members')
    await at.stop()
  })
})

function membersOnly(members: ReadonlySet<string>) {
  const failing = new Set<string>()
  return {
    failing,
    authorizeSubscription: async ({ id }: { readonly id: string }) => {
      if (failing.has(id)) throw new Error('the check cannot answer')
      if (!members.has(id)) throw new LockstepError('LS_CHANNEL_FORBIDDEN')
    },
  }
}

test('a node that may have missed some sends its clients through the check of their tokens again', async () => {
  const database = await createTestDatabase()
  const pool = new pg.Pool({ connectionString: database.url })
  const real = fromPool(pool)
  let isAway = true
  const own: Queryable = {
    query: (statement) => {
      const asksForThem = statement.values?.flat().includes('lockstep:revocations') === true
      if (isAway && asksForThem) return Promise.reject(new LockstepError('LS_DATABASE_UNREACHABLE'))
      return real.own.query(statement)
    },
  }
  const isAllowed = new Set(['ann', 'bob'])
  const world = await createWorld({
    databaseUrl: database.url,
    database: { ...real, own } as never,
    auth: async ({ token: name = '' }) => {
      if (!isAllowed.has(name)) throw new LockstepError('LS_UNAUTHENTICATED')
      return { user: { id: name } }
    },
  })
  const served = await serve(world)
  const clients = ['ann', 'bob'].map(
    (name) => new Centrifuge(served.url, { websocket: WebSocket, token: name }),
  )
  const codes = clients.map(() => [] as number[])
  try {
    for (const [n, client] of clients.entries()) {
      client.on('connecting', ({ code }) => codes[n]?.push(code))
      client.on('disconnected', ({ code }) => codes[n]?.push(code))
      await connected(client)
    }
    // The right was revoked on another node, which this one could not hear.
    isAllowed.delete('ann')
    isAway = false
    await expect
      .poll(() => codes)
      .toEqual([
        [0, 3011, 3500],
        [0, 3011],
      ])
    await expect.poll(() => clients[1]?.state).toBe('connected')
  } finally {
    for (const client of clients) client.disconnect()
    await world.close()
    await served.close()
    await pool.end()
    await database.drop()
  }
})

describe('revocations of other nodes', () => {
  const feedOn = (events: MemoryEvents, clock: ManualClock) => {
    const [applied, missed]: [object[], number[]] = [[], []]
    const feed = new RevocationFeed({
      events,
      clock,
      logger: silentLogger,
      apply: (revocation) => applied.push(revocation),
      missed: () => missed.push(clock.monotonic()),
    })
    return { feed, applied, missed }
  }
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
  const channel = 'lockstep:revocations'

  test('are acted on, and those of this node are not acted on twice', async () => {
    const events = new MemoryEvents()
    const { feed, applied, missed } = feedOn(events, new ManualClock())
    await feed.start()
    events.append(channel, { user: 'ann', node: 'there' })
    events.append(channel, feed.publicationOf({ user: 'bob' }))
    expect(applied).toEqual([{ user: 'ann' }])
    expect(missed).toEqual([])
    feed.close()
    events.append(channel, { user: 'eve', node: 'there' })
    expect(applied).toHaveLength(1)
  })

  test('are asked for again while the log is away, and all rights are asked for again then', async () => {
    const [events, clock] = [new MemoryEvents(), new ManualClock()]
    const { feed, applied, missed } = feedOn(events, clock)
    events.failures.set(channel, new Error('the log is away'))
    await feed.start()
    clock.advance(500)
    await turn()
    expect(missed).toEqual([])
    events.failures.clear()
    clock.advance(500)
    await turn()
    expect(missed).toHaveLength(1)
    events.reset(channel)
    await turn()
    expect(missed).toHaveLength(2)
    events.append(channel, { user: 'ann', node: 'there' })
    expect(applied).toEqual([{ user: 'ann' }])
    feed.close()
  })
})

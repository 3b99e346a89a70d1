// Three server processes on one Postgres, behind one address: what one of them commits reaches the subscribers of the
// others, also when it dies before it could say so, and when all of them are restarted one after the other under load.
import { Centrifuge } from 'centrifuge'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { newOperationId } from '../../src/client/index.ts'
import { signToken } from '../../src/index.ts'
import { Arena } from '../faults/arena.ts'
import { createNodeBundles, type NodeBundles } from '../faults/build-node.ts'
import { secret, type Slot } from '../faults/cluster.ts'
import { startOwnPostgres, type OwnPostgres } from '../support/postgres.ts'
import { Inbox } from '../support/sockets.ts'

let postgres: OwnPostgres
let bundles: NodeBundles
let bundle: string

beforeAll(async () => {
  postgres = await startOwnPostgres({ durable: false })
  bundles = await createNodeBundles()
  bundle = await bundles.build('sources')
})
afterAll(async () => {
  await bundles.close()
  await postgres.close()
})

/** Three nodes with Lockstep's own settings, as the figures are promised for these. */
function openArena(database: string, restart = true): Promise<Arena> {
  return Arena.open({
    bundle,
    serverUrl: postgres.server.url,
    database,
    nodes: 3,
    restart,
    config: { leaseMs: 3_000, headCheckMs: 1_000 },
  })
}

const deliveriesOf = (arena: Arena, id: string): number[] =>
  arena.history.lines.filter((line) => line.kind === 'deliver' && line.id === id).map(({ t }) => t)

it('the event of a node that is killed right after COMMIT reaches the subscribers of the others within 5 s', async () => {
  const arena = await openArena('killed_after_commit', false)
  try {
    const [victim, ...others] = arena.cluster.slots as [Slot, Slot, Slot]
    for (const slot of others) {
      arena.cluster.prefer(slot)
      await arena.subscriber('ada', ['a'])
    }
    arena.cluster.prefer(victim)
    const caller = await arena.caller('bob')
    arena.cluster.prefer(others[0])
    await victim.node.arm({ point: 'transaction.after-commit', action: 'kill' })
    const id = newOperationId()
    const call = caller.call(id, { rooms: ['a'] })
    await victim.node.exited
    const diedAt = performance.now()
    await arena.until('both have it', () => deliveriesOf(arena, id).length === 2)
    for (const t of deliveriesOf(arena, id)) expect(t - diedAt).toBeLessThan(5_000)
    await call
    expect(await arena.verdict({ heal: false })).toEqual([])
  } finally {
    await arena.close()
  }
})

it('what one node commits reaches the subscribers of the others long before heads are compared', async () => {
  const arena = await openArena('over_the_bus')
  try {
    const [first, second] = arena.cluster.slots as [Slot, Slot, Slot]
    arena.cluster.prefer(second)
    await arena.subscriber('ada', ['a'])
    arena.cluster.prefer(first)
    const caller = await arena.caller('bob')
    const delays: number[] = []
    for (let count = 0; count < 20; count++) {
      const id = await arena.call(caller, { rooms: ['a'] })
      const repliedAt = performance.now()
      await arena.until('it has arrived', () => deliveriesOf(arena, id).length === 1)
      delays.push(...deliveriesOf(arena, id).map((t) => t - repliedAt))
    }
    // Half of the deliveries would take more than half a second by the comparison of heads.
    expect(delays.toSorted((a, b) => a - b)[10]).toBeLessThan(200)
    expect(await arena.verdict()).toEqual([])
  } finally {
    await arena.close()
  }
})

it('a rolling restart under load loses nothing, repeats nothing and makes nobody reload', async () => {
  const arena = await openArena('rolling_restart')
  const codes = new Inbox<number>()
  const onlooker = new Centrifuge(arena.cluster.url, {
    token: await signToken(secret, 'eve', 3_600),
    websocket: WebSocket,
    minReconnectDelay: 50,
    maxReconnectDelay: 200,
  })
  onlooker.on('error', () => {})
  onlooker.on('connecting', ({ code }) => codes.push(code))
  try {
    onlooker.connect()
    await onlooker.ready()
    for (let count = 0; count < 9; count++) await arena.subscriber(`reader${count}`, ['a', 'b'])
    const callers = await Promise.all(['ada', 'bob', 'cyd'].map((user) => arena.caller(user)))
    const over = new AbortController()
    const load = Promise.all(
      callers.map(async (caller, index) => {
        while (!over.signal.aborted) await arena.call(caller, { rooms: index % 2 === 0 ? ['a', 'b'] : ['b'] })
      }),
    )
    const committed = (): number => arena.history.lines.filter(({ kind }) => kind === 'ok').length
    for (const slot of arena.cluster.slots) {
      const before = slot.node
      before.signal('SIGTERM')
      expect(await before.exited).toEqual({ code: 0, signal: null })
      await arena.until('its successor serves', () => slot.node !== before && slot.node.port !== undefined)
      const soFar = committed()
      await arena.until('the load goes on', () => committed() >= soFar + 20)
    }
    over.abort()
    await load
    expect(await arena.verdict()).toEqual([])
    expect(arena.history.lines.filter(({ kind }) => kind === 'reset')).toEqual([])
    // The onlooker was on some node, and every node went away once. Code 0 is the first connection.
    expect(codes.items.length).toBeGreaterThan(1)
    expect(codes.items.filter((code) => code !== 0 && code !== 3001)).toEqual([])
  } finally {
    onlooker.disconnect()
    await arena.close()
  }
})

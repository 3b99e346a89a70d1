// Short schedules, each made to show one kind of bug: few users, few calls, and one fault at a chosen moment.
import { newOperationId } from '../../src/client/index.ts'
import type { Arena } from './arena.ts'
import type { Caller } from './caller.ts'
import type { NodeConfig } from './node.ts'
import { studyOf } from './places.ts'
import type { Subscriber } from './subscriber.ts'

type Script = (arena: Arena) => Promise<void>

export interface Schedule {
  readonly nodes?: number
  readonly config?: Partial<NodeConfig>
  readonly run: Script
}

const plan = { rooms: ['a'] }

export const commitFails: Schedule = {
  async run(arena) {
    await arena.subscriber('ada', ['a'])
    const caller = await arena.caller('bob')
    await arena.call(caller, plan)
    await arena.call(caller, { ...plan, fail: 'deferred' })
    await arena.call(caller, plan)
  },
}

export const workFails: Schedule = {
  async run(arena) {
    await arena.subscriber('ada', ['a'])
    const caller = await arena.caller('bob')
    await arena.call(caller, { ...plan, fail: 'throw' })
    await arena.call(caller, plan)
  },
}

/**
 * Commits nothing after the COMMIT that fails, and compares no heads: a node that finds out that it has shown an
 * event which the log lacks takes the history for another one.
 */
export const lastCommitFails: Schedule = {
  config: { headCheckMs: 60_000 },
  run: (arena) => failAtLast(arena, 'deferred'),
}

/** Does the same with work that fails. */
export const lastWorkFails: Schedule = {
  config: { headCheckMs: 60_000 },
  run: (arena) => failAtLast(arena, 'throw'),
}

async function failAtLast(arena: Arena, fail: 'deferred' | 'throw'): Promise<void> {
  await arena.subscriber('ada', ['a'])
  const caller = await arena.caller('bob')
  await arena.call(caller, plan)
  await arena.call(caller, { ...plan, fail })
}

/** Work that fails has left something outside its transaction. */
export const workLeavesSomething: Schedule = {
  async run(arena) {
    const caller = await arena.caller('bob')
    await arena.call(caller, { ...plan, fail: 'throw', promise: 'promises:1' })
    await arena.call(caller, { ...plan, promise: 'promises:2' })
  },
}

export const commitIsLate: Schedule = {
  config: { headCheckMs: 60_000 },
  async run(arena) {
    await arena.subscriber('ada', ['a'])
    arena.breakNextCommit({ kind: 'delayed', delayMs: 600 })
    await arena.call(await arena.caller('bob'), plan)
  },
}

export const flightIsLate: Schedule = {
  async run(arena) {
    const caller = await arena.caller('bob')
    arena.breakNextCommit({ kind: 'late-flight', delayMs: 800 })
    await arena.call(caller, plan)
    await arena.untilCommitsLanded()
  },
}

/** Keeps the database away until the COMMIT in flight has landed: no node can ask before how it ends. */
export const commitIsSlow: Schedule = {
  async run(arena) {
    const caller = await arena.caller('bob')
    arena.breakNextCommit({ kind: 'slow-commit', delayMs: 1_800 })
    const call = arena.call(caller, plan)
    await arena.withoutDatabaseUntilCommitLands()
    await call
  },
}

export const commitNeverArrives: Schedule = {
  async run(arena) {
    arena.breakNextCommit({ kind: 'dropped', delayMs: 0 })
    await arena.call(await arena.caller('bob'), plan)
  },
}

export const copyComesLate: Schedule = {
  async run(arena) {
    const device = await arena.subscriber('bob', [])
    const id = newOperationId()
    await device.ask(id)
    await device.copy(id, plan)
  },
}

export const sentAgain: Schedule = {
  async run(arena) {
    const device = await arena.subscriber('bob', [])
    const id = await arena.call(await arena.caller('bob'), plan)
    await device.copy(id, plan)
  },
}

export const listenerWasAway: Schedule = { run: (arena) => missSome(arena, 2) }

/** Misses three events, so that there is one in the middle. */
export const listenerWasAwayLonger: Schedule = { run: (arena) => missSome(arena, 3) }

async function missSome(arena: Arena, count: number): Promise<void> {
  const listener = await arena.subscriber('ada', ['a'])
  const caller = await arena.caller('bob')
  await arena.call(caller, plan)
  await arena.until('the first event is there', () => listener.positions.get('room:a') === 1)
  await listener.away(async () => {
    for (let missed = 0; missed < count; missed++) await arena.call(caller, plan)
  })
  await arena.until('the last event is there', () => listener.positions.get('room:a') === 1 + count)
}

/** The second node hears of the first one's commit only by the log. */
export const otherNodeCommits: Schedule = {
  nodes: 2,
  config: { headCheckMs: 60_000, bus: false },
  async run(arena) {
    const [first, second] = arena.cluster.slots
    arena.cluster.prefer(first)
    await arena.subscriber('ada', ['a'])
    const near = await arena.caller('bob')
    await arena.call(near, { rooms: ['b'] })
    arena.cluster.prefer(second)
    await arena.call(await arena.caller('eve'), plan)
    await arena.call(near, plan)
  },
}

/** The first node does not hear what the second one commits; nothing else is committed after that. */
export const busWasAway: Schedule = {
  nodes: 2,
  config: { headCheckMs: 60_000 },
  async run(arena) {
    await commitUnheard(arena)
  },
}

/** Continues the schedule above until the first node hears of the second one again. */
export const busCameBack: Schedule = {
  nodes: 2,
  config: { headCheckMs: 60_000 },
  async run(arena) {
    const { listener, caller } = await commitUnheard(arena)
    await arena.until('something is heard again', async () => {
      await arena.call(caller, plan)
      return (listener.positions.get('room:a') ?? 0) > 1
    })
  },
}

/**
 * Commits an event that the listener's node does not hear of. The listener has the first of the events only when this
 * resolves, unless the outage is over by then.
 */
async function commitUnheard(arena: Arena): Promise<{ listener: Subscriber; caller: Caller }> {
  const [first, second] = arena.cluster.slots
  arena.cluster.prefer(first)
  const listener = await arena.subscriber('ada', ['a'])
  arena.cluster.prefer(second)
  const caller = await arena.caller('bob')
  await arena.call(caller, plan)
  await arena.until('the bus carries events', () => listener.positions.get('room:a') === 1)
  await arena.withoutBus(async () => {
    for (let count = 0; count < 3; count++) await arena.call(caller, plan)
  })
  return { listener, caller }
}

/** The work outlasts several rounds in which nodes look for what dead ones left, also where the machine is busy. */
export const workTakesLong: Schedule = {
  nodes: 2,
  async run(arena) {
    await arena.call(await arena.caller('bob'), { ...plan, holdMs: 6_000 })
    await arena.untilTransactionsEnded()
  },
}

export const nodeDies: Schedule = {
  nodes: 2,
  async run(arena) {
    const [first] = arena.cluster.slots
    if (first === undefined) return
    arena.cluster.prefer(first)
    const caller = await arena.caller('bob')
    const id = newOperationId()
    const call = caller.call(id, { ...plan, holdMs: 60_000 })
    await arena.until('the intent is written', async () => (await arena.stateOf(id)) === 'started')
    arena.cluster.prefer(undefined)
    await arena.cluster.kill(first)
    void call
  },
}

/** The node dies with one operation open, after others have come and gone. */
export const nodeDiesLater: Schedule = {
  nodes: 2,
  async run(arena) {
    const [first] = arena.cluster.slots
    if (first === undefined) return
    arena.cluster.prefer(first)
    const [caller, other] = [await arena.caller('bob'), await arena.caller('eve')]
    const id = newOperationId()
    const call = caller.call(id, { rooms: ['b'], holdMs: 60_000 })
    await arena.until('the intent is written', async () => (await arena.stateOf(id)) === 'started')
    arena.history.add({ kind: 'noted', id })
    for (let count = 0; count < 3; count++) await arena.call(other, plan)
    arena.cluster.prefer(undefined)
    await arena.cluster.kill(first)
    await call
  },
}

/** A transaction that has written its outcome and not ended, whichever of its statements came last. */
const flushing = `select from pg_stat_activity a join pg_locks l on l.pid = a.pid
  where a.datname = current_database() and a.wait_event = 'ClientRead'
    and l.relation = 'lockstep.operations'::regclass and l.mode = 'RowExclusiveLock'`

/**
 * The node dies while its COMMIT is on the way, which is lost long after other nodes have asked how the operation
 * ended.
 */
export const nodeDiesCommitting: Schedule = {
  nodes: 2,
  async run(arena) {
    const [first] = arena.cluster.slots
    if (first === undefined) return
    arena.cluster.prefer(first)
    const caller = await arena.caller('bob')
    const id = newOperationId()
    arena.breakNextCommit({ kind: 'slow-rollback', delayMs: 4_500 })
    const call = caller.call(id, { ...plan, holdMs: 300 })
    await arena.until('the intent is written', async () => (await arena.stateOf(id)) === 'started')
    arena.history.add({ kind: 'noted', id })
    await arena.until('the flush has come', async () => (await arena.direct.query(flushing)).rowCount === 1)
    arena.cluster.prefer(undefined)
    await arena.cluster.kill(first)
    await arena.untilTransactionsEnded()
    await call
  },
}

/** Two devices of one user send an id with an input each: the first one's work fails when the second has committed. */
export const anotherCommitsMeanwhile: Schedule = {
  nodes: 2,
  async run(arena) {
    const [first, second] = arena.cluster.slots
    arena.cluster.prefer(first)
    const device = await arena.subscriber('bob', [])
    arena.cluster.prefer(second)
    const other = await arena.subscriber('bob', [])
    const id = newOperationId()
    const sent = device.copy(id, { ...plan, fail: 'throw', holdMs: 3_000 }, { repeat: false })
    await arena.until('the intent is written', async () => (await arena.stateOf(id)) === 'started')
    await other.copy(id, { ...plan, note: 'another input' }, { repeat: false })
    await sent
  },
}

export const anotherInput: Schedule = {
  async run(arena) {
    const device = await arena.subscriber('bob', [])
    const other = await arena.subscriber('bob', [])
    const id = newOperationId()
    await device.copy(id, plan)
    await other.copy(id, { ...plan, note: 'another input' })
  },
}

export const nestedFails: Schedule = {
  async run(arena) {
    await arena.subscriber('ada', ['a'])
    const caller = await arena.caller('bob')
    await arena.call(caller, { ...plan, nested: 'transaction' })
    await arena.call(caller, { ...plan, nested: 'savepoint' })
  },
}

export const attemptMeetsConflict: Schedule = {
  async run(arena) {
    await arena.subscriber('ada', ['a'])
    await arena.call(await arena.caller('bob'), { ...plan, fail: 'conflict' })
  },
}

export const somebodyElseListens: Schedule = {
  async run(arena) {
    await arena.subscriber('eve', [])
    const caller = await arena.caller('bob')
    await arena.call(caller, { ...plan, fail: 'throw' })
  },
}

export const somebodyElseJoins: Schedule = {
  async run(arena) {
    await arena.subscriber('eve', [], [studyOf('bob')])
    await arena.call(await arena.caller('bob'), { rooms: [studyOf('bob')] })
  },
}

export const somebodyElseAsks: Schedule = {
  async run(arena) {
    const id = await arena.call(await arena.caller('bob'), plan)
    const stranger = await arena.subscriber('eve', [])
    await stranger.pry(id)
  },
}

/** Events that the second node commits reach the first one's listener by the comparison of heads alone. */
export const withoutBus: Schedule = {
  nodes: 2,
  config: { bus: false },
  async run(arena) {
    const [first, second] = arena.cluster.slots
    arena.cluster.prefer(first)
    await arena.subscriber('ada', ['a'])
    arena.cluster.prefer(second)
    await arena.call(await arena.caller('bob'), plan)
  },
}

export const nodeStandsStill: Schedule = {
  async run(arena) {
    const [slot] = arena.cluster.slots
    if (slot === undefined) return
    await arena.call(await arena.caller('bob'), plan)
    slot.node.signal('SIGSTOP')
    const lapsed = 'select from lockstep.nodes where lease_until < clock_timestamp()'
    await arena.until('the lease has lapsed', async () => (await arena.direct.query(lapsed)).rowCount === 1)
    slot.node.signal('SIGCONT')
  },
}

export const idleConnectionsBreak: Schedule = {
  async run(arena) {
    await arena.call(await arena.caller('bob'), plan)
    for (const link of arena.cluster.postgresLeg.links) link.reset('both')
  },
}

/** The page is loaded anew while its call runs. */
export const pageIsReloaded: Schedule = {
  async run(arena) {
    const caller = await arena.caller('bob')
    const id = newOperationId()
    void caller.call(id, { ...plan, holdMs: 1_500 })
    await arena.until('the intent is written', async () => (await arena.stateOf(id)) === 'started')
    caller.reload()
    await arena.untilTransactionsEnded()
  },
}

/** The page is loaded anew when it has shown a rollback told from memory. */
export const pageIsReloadedLater: Schedule = {
  async run(arena) {
    const caller = await arena.caller('bob')
    await arena.withoutDatabase(async () => {
      await arena.call(caller, plan)
      caller.reload()
    })
    await arena.until('the page is connected', () => caller.isConnected)
  },
}

/** The connection of the client is gone before the reply comes. */
export const replyIsLost: Schedule = {
  async run(arena) {
    const caller = await arena.caller('bob')
    const id = newOperationId()
    const call = caller.call(id, { ...plan, holdMs: 1_500 })
    await arena.until('the intent is written', async () => (await arena.stateOf(id)) === 'started')
    for (const link of arena.cluster.clientLeg.links) link.reset('both')
    await call
    await arena.untilTransactionsEnded()
  },
}

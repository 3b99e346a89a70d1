// The checker is tested by bugs: each planted one has to be caught by its rule, in a short run made to show it. The same
// run of the sources as they are has to be clean, or the rule would catch nothing in particular.
import { newOperationId } from '../../src/client/index.ts'
import { Arena, type ArenaOptions } from './arena.ts'
import type { NodeBundles, Replacement } from './build-node.ts'
import type { Caller } from './caller.ts'
import type { Rule, Violation } from './checker.ts'
import type { NodeConfig } from './node.ts'
import { mutants, type MutantName } from './mutants.ts'
import { studyOf } from './places.ts'
import type { Subscriber } from './subscriber.ts'

type Script = (arena: Arena) => Promise<void>

interface Schedule {
  readonly nodes?: number
  readonly config?: Partial<NodeConfig>
  readonly run: Script
}

const plan = { rooms: ['a'] }

const commitFails: Schedule = {
  async run(arena) {
    await arena.subscriber('ada', ['a'])
    const caller = await arena.caller('bob')
    await arena.call(caller, plan)
    await arena.call(caller, { ...plan, fail: 'deferred' })
    await arena.call(caller, plan)
  },
}

const workFails: Schedule = {
  async run(arena) {
    await arena.subscriber('ada', ['a'])
    const caller = await arena.caller('bob')
    await arena.call(caller, { ...plan, fail: 'throw' })
    await arena.call(caller, plan)
  },
}

const commitIsLate: Schedule = {
  async run(arena) {
    await arena.subscriber('ada', ['a'])
    arena.breakNextCommit({ kind: 'delayed', delayMs: 600 })
    await arena.call(await arena.caller('bob'), plan)
  },
}

const flightIsLate: Schedule = {
  async run(arena) {
    const caller = await arena.caller('bob')
    arena.breakNextCommit({ kind: 'late-flight', delayMs: 800 })
    await arena.call(caller, plan)
    await arena.untilCommitsLanded()
  },
}

/** Nobody can ask how a COMMIT in flight ends before it has. */
const commitIsSlow: Schedule = {
  async run(arena) {
    const caller = await arena.caller('bob')
    arena.breakNextCommit({ kind: 'slow-commit', delayMs: 1_800 })
    const call = arena.call(caller, plan)
    await arena.withoutDatabaseUntilCommitLands()
    await call
  },
}

const commitNeverArrives: Schedule = {
  async run(arena) {
    arena.breakNextCommit({ kind: 'dropped', delayMs: 0 })
    await arena.call(await arena.caller('bob'), plan)
  },
}

const copyComesLate: Schedule = {
  async run(arena) {
    const device = await arena.subscriber('bob', [])
    const id = newOperationId()
    await device.ask(id)
    await device.copy(id, plan)
  },
}

const sentAgain: Schedule = {
  async run(arena) {
    const device = await arena.subscriber('bob', [])
    const id = await arena.call(await arena.caller('bob'), plan)
    await device.copy(id, plan)
  },
}

const listenerWasAway: Schedule = {
  async run(arena) {
    const listener = await arena.subscriber('ada', ['a'])
    const caller = await arena.caller('bob')
    await arena.call(caller, plan)
    await arena.until('the first event is there', () => listener.positions.get('room:a') === 1)
    await listener.away(async () => {
      await arena.call(caller, plan)
      await arena.call(caller, plan)
    })
    await arena.until('the last event is there', () => listener.positions.get('room:a') === 3)
  },
}

/** The second node hears of the first one's commit only by the log. */
const otherNodeCommits: Schedule = {
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
const busWasAway: Schedule = {
  nodes: 2,
  config: { headCheckMs: 60_000 },
  async run(arena) {
    await commitUnheard(arena)
  },
}

/** The same, and then the first node hears of the second one again. */
const busCameBack: Schedule = {
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

/** What the listener has got when it resolves is the first of the events only, unless the outage is over for it. */
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

const workTakesLong: Schedule = {
  nodes: 2,
  async run(arena) {
    await arena.call(await arena.caller('bob'), { ...plan, holdMs: 2_000 })
    await arena.untilTransactionsEnded()
  },
}

const nodeDies: Schedule = {
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
const nodeDiesLater: Schedule = {
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

const flushing = `select from pg_stat_activity
  where datname = current_database() and xact_start is not null and query ~ '[.]flush_(operation|event)[(]'
    and pid <> pg_backend_pid()`

/** The node dies while its COMMIT is on the way, which is lost long after others have asked for what it left. */
const nodeDiesCommitting: Schedule = {
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
const anotherCommitsMeanwhile: Schedule = {
  nodes: 2,
  async run(arena) {
    const [first, second] = arena.cluster.slots
    arena.cluster.prefer(first)
    const device = await arena.subscriber('bob', [])
    arena.cluster.prefer(second)
    const other = await arena.subscriber('bob', [])
    const id = newOperationId()
    const sent = device.copy(id, { ...plan, fail: 'throw', holdMs: 1_000 }, { repeat: false })
    await arena.until('the intent is written', async () => (await arena.stateOf(id)) === 'started')
    await other.copy(id, { ...plan, note: 'another input' }, { repeat: false })
    await sent
  },
}

const anotherInput: Schedule = {
  async run(arena) {
    const device = await arena.subscriber('bob', [])
    const other = await arena.subscriber('bob', [])
    const id = newOperationId()
    await device.copy(id, plan)
    await other.copy(id, { ...plan, note: 'another input' })
  },
}

const nestedFails: Schedule = {
  async run(arena) {
    await arena.subscriber('ada', ['a'])
    await arena.call(await arena.caller('bob'), { ...plan, nested: true })
  },
}

const attemptMeetsConflict: Schedule = {
  async run(arena) {
    await arena.subscriber('ada', ['a'])
    await arena.call(await arena.caller('bob'), { ...plan, fail: 'conflict' })
  },
}

const somebodyElseListens: Schedule = {
  async run(arena) {
    await arena.subscriber('eve', [])
    const caller = await arena.caller('bob')
    await arena.call(caller, { ...plan, fail: 'throw' })
  },
}

const somebodyElseJoins: Schedule = {
  async run(arena) {
    await arena.subscriber('eve', [], [studyOf('bob')])
    await arena.call(await arena.caller('bob'), { rooms: [studyOf('bob')] })
  },
}

const somebodyElseAsks: Schedule = {
  async run(arena) {
    const id = await arena.call(await arena.caller('bob'), plan)
    const stranger = await arena.subscriber('eve', [])
    await stranger.pry(id)
  },
}

/** What the second node commits reaches the first one's listener by the comparison of heads alone. */
const withoutBus: Schedule = {
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

const nodeStandsStill: Schedule = {
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

const idleConnectionsBreak: Schedule = {
  async run(arena) {
    await arena.call(await arena.caller('bob'), plan)
    for (const link of arena.cluster.postgresLeg.links) link.reset('both')
  },
}

/** The page is loaded anew while its call runs. */
const pageIsReloaded: Schedule = {
  async run(arena) {
    const caller = await arena.caller('bob')
    const id = newOperationId()
    void caller.call(id, { ...plan, holdMs: 300 })
    await arena.until('the intent is written', async () => (await arena.stateOf(id)) === 'started')
    caller.reload()
    await arena.untilTransactionsEnded()
  },
}

/** The page is loaded anew when it has told of a rollback from memory. */
const pageIsReloadedLater: Schedule = {
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
const replyIsLost: Schedule = {
  async run(arena) {
    const caller = await arena.caller('bob')
    const id = newOperationId()
    const call = caller.call(id, { ...plan, holdMs: 300 })
    await arena.until('the intent is written', async () => (await arena.stateOf(id)) === 'started')
    for (const link of arena.cluster.clientLeg.links) link.reset('both')
    await call
    await arena.untilTransactionsEnded()
  },
}

interface Planted {
  readonly bug: MutantName
  readonly rule: Rule
  readonly schedule: Schedule
}

export const plantedBugs: readonly Planted[] = [
  { bug: 'publish before COMMIT', rule: 'I1', schedule: commitFails },
  { bug: 'publish before COMMIT', rule: 'I5', schedule: commitIsLate },
  { bug: 'publish on rollback', rule: 'I1', schedule: workFails },
  { bug: 'gap skipped', rule: 'I2', schedule: otherNodeCommits },
  { bug: 'bus taken for the truth', rule: 'I2', schedule: busCameBack },
  { bug: 'resume skips one', rule: 'I2', schedule: listenerWasAway },
  { bug: 'resume repeats one', rule: 'I3', schedule: listenerWasAway },
  { bug: 'offset from a sequence', rule: 'I4', schedule: commitFails },
  { bug: 'notice kept in memory', rule: 'I6', schedule: workFails },
  { bug: 'notice written twice', rule: 'I6', schedule: workFails },
  { bug: 'unheard id not closed', rule: 'I6', schedule: copyComesLate },
  { bug: 'lost COMMIT guessed as rolled back', rule: 'I6', schedule: commitIsSlow },
  { bug: 'lost COMMIT guessed as committed', rule: 'I6', schedule: commitNeverArrives },
  { bug: 'replay runs the work again', rule: 'I7', schedule: sentAgain },
  { bug: 'replay forgets the result', rule: 'I7', schedule: sentAgain },
  { bug: 'flush not fenced', rule: 'I9', schedule: flightIsLate },
  { bug: 'living node settled, not fenced', rule: 'I9', schedule: workTakesLong },
  { bug: 'outage of the bus forgotten', rule: 'I11', schedule: busWasAway },
  { bug: 'slot written over while an operation of it is open', rule: 'I6', schedule: nodeDiesLater },
  { bug: 'orphans forgotten before they are settled', rule: 'I6', schedule: nodeDiesCommitting },
  { bug: 'orphans left open', rule: 'I11', schedule: nodeDies },
  { bug: 'event shown before it has a place', rule: 'I1', schedule: workFails },
  { bug: 'hole never filled', rule: 'I11', schedule: otherNodeCommits },
  { bug: 'positions of a reply one too far', rule: 'I4', schedule: workFails },
  { bug: 'orphan told in no words of its own', rule: 'I6', schedule: nodeDies },
  { bug: 'client forgets its calls when its page is loaded anew', rule: 'I6', schedule: pageIsReloaded },
  {
    bug: 'client tells again what its last page has told from memory',
    rule: 'I6',
    schedule: pageIsReloadedLater,
  },
  { bug: 'client takes a lost reply for a refusal', rule: 'I6', schedule: replyIsLost },
  { bug: 'outcome answered for another input', rule: 'I7', schedule: anotherInput },
  { bug: 'settlement answers for another input', rule: 'I7', schedule: anotherCommitsMeanwhile },
  { bug: 'events of a failed nested transaction kept', rule: 'I7', schedule: nestedFails },
  { bug: 'events of a failed attempt kept', rule: 'I7', schedule: attemptMeetsConflict },
  { bug: 'notice sent to another user', rule: 'I6', schedule: somebodyElseListens },
  { bug: 'raw error told to the user', rule: 'I8', schedule: workFails },
  { bug: 'channel joined without asking who may', rule: 'I8', schedule: somebodyElseJoins },
  { bug: 'outcome told to whoever asks', rule: 'I8', schedule: somebodyElseAsks },
  { bug: 'heads of channels not compared', rule: 'I11', schedule: withoutBus },
  { bug: 'lease lost and not taken again', rule: 'I11', schedule: nodeStandsStill },
  { bug: 'broken idle connection not listened to', rule: 'I12', schedule: idleConnectionsBreak },
]

export interface PlantedResult {
  readonly bug: string
  readonly rule: Rule
  readonly caught: boolean
  /** What the same schedule showed in the sources as they are; nothing, if all is well. */
  readonly clean: readonly Violation[]
  readonly violations: readonly Violation[]
}

export interface PlantedOptions {
  readonly bundles: NodeBundles
  readonly serverUrl: string
  /** Only bugs whose name holds this text. */
  readonly only?: string
  /** Arenas at once. */
  readonly parallel?: number
}

/** Where the bug is: in the nodes, or in the client of the callers. */
type Variant = Pick<ArenaOptions, 'bundle' | 'createClient'>
type ClientModule = Required<Pick<ArenaOptions, 'createClient'>>

export async function runPlanted({
  bundles,
  serverUrl,
  only = '',
  parallel = 3,
}: PlantedOptions): Promise<readonly PlantedResult[]> {
  const sources = await bundles.build('sources')
  const controls = new Map<Schedule, Promise<readonly Violation[]>>()
  let arenas = 0
  const buildWith = async (bug: MutantName): Promise<Variant> => {
    const name = bug.replaceAll(/\W+/g, '-')
    const replacements: readonly Replacement[] = mutants[bug]
    if (!replacements.some(({ file }) => file.startsWith('src/client/')))
      return { bundle: await bundles.build(name, replacements) }
    const { createClient } = (await import(await bundles.buildClient(name, replacements))) as ClientModule
    return { bundle: sources, createClient }
  }
  const play = async (variant: Variant, { run, ...options }: Schedule): Promise<readonly Violation[]> => {
    arenas += 1
    const arena = await Arena.open({ ...variant, serverUrl, database: `planted_${arenas}`, ...options })
    try {
      await run(arena)
      return await arena.verdict()
    } finally {
      await arena.close()
    }
  }
  const runOne = async ({ bug, rule, schedule }: Planted): Promise<PlantedResult> => {
    const violations = await play(await buildWith(bug), schedule)
    const control = controls.get(schedule) ?? play({ bundle: sources }, schedule)
    controls.set(schedule, control)
    const caught = violations.some((violation) => violation.rule === rule)
    return { bug, rule, caught, clean: await control, violations }
  }
  const results: PlantedResult[] = []
  const asked = plantedBugs.filter(({ bug }) => bug.includes(only))
  const waiting = asked.map((planted, index) => ({ planted, index }))
  const worker = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      results[next.index] = await runOne(next.planted)
    }
  }
  await Promise.all(Array.from({ length: parallel }, worker))
  return results
}

// The checker is tested by bugs: each planted one has to be caught by its rule, in a short run made to show it. The same
// run of the sources as they are has to be clean, or the rule would catch nothing in particular.
import { newOperationId } from '../../src/client/index.ts'
import { Arena } from './arena.ts'
import type { NodeBundles } from './build-node.ts'
import type { Caller } from './caller.ts'
import type { Rule, Violation } from './checker.ts'
import type { NodeConfig } from './node.ts'
import { mutants, type MutantName } from './mutants.ts'
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
  /** Arenas at once. */
  readonly parallel?: number
}

export async function runPlanted({
  bundles,
  serverUrl,
  parallel = 3,
}: PlantedOptions): Promise<readonly PlantedResult[]> {
  const sources = await bundles.build('sources')
  const controls = new Map<Schedule, Promise<readonly Violation[]>>()
  let arenas = 0
  const play = async (bundle: string, { run, ...options }: Schedule): Promise<readonly Violation[]> => {
    arenas += 1
    const arena = await Arena.open({ bundle, serverUrl, database: `planted_${arenas}`, ...options })
    try {
      await run(arena)
      return await arena.verdict()
    } finally {
      await arena.close()
    }
  }
  const runOne = async ({ bug, rule, schedule }: Planted): Promise<PlantedResult> => {
    const bundle = await bundles.build(bug.replaceAll(/\W+/g, '-'), mutants[bug])
    const violations = await play(bundle, schedule)
    const control = controls.get(schedule) ?? play(sources, schedule)
    controls.set(schedule, control)
    const caught = violations.some((violation) => violation.rule === rule)
    return { bug, rule, caught, clean: await control, violations }
  }
  const results: PlantedResult[] = []
  const waiting = plantedBugs.map((planted, index) => ({ planted, index }))
  const worker = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      results[next.index] = await runOne(next.planted)
    }
  }
  await Promise.all(Array.from({ length: parallel }, worker))
  return results
}

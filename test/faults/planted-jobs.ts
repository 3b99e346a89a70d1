// Short schedules with runs, each made to show one kind of bug.
import type { Arena } from './arena.ts'
import type { Slot } from './cluster.ts'
import type { Schedule } from './planted-schedules.ts'

/** Starts a job on the first node, which takes it on itself. */
async function startOnFirst(
  arena: Arena,
  plan: { readonly workMs: number[]; readonly holdMs?: number[] },
): Promise<{ readonly run: string; readonly first: Slot; readonly second: Slot }> {
  const [first, second] = arena.cluster.slots
  if (first === undefined || second === undefined) throw new Error('this schedule needs two nodes')
  arena.cluster.prefer(first)
  const runner = await arena.runner()
  const run = await runner.start({ place: 1, ...plan })
  if (run === undefined) throw new Error('a job was not started')
  await arena.untilRun(run, ({ state }) => state === 'running')
  return { run, first, second }
}

const hasEnded = ({ state }: { readonly state: string }): boolean => !['pending', 'running'].includes(state)

/** The node of a run is halted in the transaction of a step, and goes on when another node has the run. */
export const nodeStandsStillCommitting: Schedule = {
  nodes: 2,
  async run(arena) {
    const { run, first } = await startOnFirst(arena, { workMs: [1], holdMs: [900, 4_000] })
    await arena.untilStepIsOpen()
    first.node.signal('SIGSTOP')
    await arena.untilRun(run, ({ attempt }) => attempt > 1)
    first.node.signal('SIGCONT')
    await arena.untilRun(run, hasEnded)
  },
}

/** A stop is acknowledged by a node that does not have the run. */
export const anotherNodeStops: Schedule = {
  nodes: 2,
  async run(arena) {
    const { run, second } = await startOnFirst(arena, { workMs: [1_500, 1] })
    arena.cluster.prefer(second)
    const other = await arena.runner()
    if (!(await other.stop(run))) throw new Error('a stop was not acknowledged')
    await arena.untilRun(run, hasEnded)
  },
}

/** The node of a run is killed when its first step has committed. */
export const nodeDiesBetweenSteps: Schedule = {
  nodes: 2,
  async run(arena) {
    const { run, first } = await startOnFirst(arena, { workMs: [1, 700] })
    const text = 'select from lockstep.run_steps where run = $1'
    await arena.until('the first step has committed', async () => {
      return (await arena.direct.query(text, [run])).rowCount !== 0
    })
    await arena.cluster.kill(first)
  },
}

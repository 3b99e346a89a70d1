// Jobs of a simulation: runs of five steps, which users start and stop, and what must be true of them.
import { pause, whenSettled } from '../../src/core/index.ts'
import { derivedId } from '../../src/runs/model/step-name.ts'
import { isFinal, type Runs, type RunsPart } from '../../src/runs/index.ts'
import { handleIn } from '../../src/transaction/index.ts'
import type { ModelDb } from './model/database.ts'
import type { SimulatedNode } from './node.ts'
import type { World } from './world.ts'

type RunnableTask = Parameters<Runs<ModelDb>['declare']>[0]

const stepsOfJob = 5
export const jobName = 'job'

interface Job {
  readonly id: string
  readonly workMs: readonly number[]
  /** The step that throws in its first attempt. */
  readonly throwsAt: number | undefined
  /** Generation of the server in which a stop was acknowledged. */
  stoppedIn: number | undefined
}

/** Commit of a step, as its code was told. */
interface CommitFacts {
  readonly attempt: number
  readonly stopped: boolean
}

export class Jobs {
  readonly #world: World
  readonly #jobs = new Map<string, Job>()
  /** Facts of each try to commit a step, by its operation. */
  readonly #commits = new Map<string, CommitFacts>()

  constructor(world: World) {
    this.#world = world
    world.server.onStep = (run, name, operation) => this.#committed(run, name, operation)
  }

  /** The task, as a node declares it. */
  taskOf(node: SimulatedNode): RunnableTask {
    return {
      name: jobName,
      retry: { attempts: 5, backoffMs: 50 },
      onStop: 'keep',
      hasChannel: true,
      isParallel: false,
      failure: {},
      mayStop: () => Promise.resolve(undefined),
      toProgress: () => 'null',
      run: async ({ runId, step }) => {
        const job = this.#jobs.get(runId)
        for (let index = 0; index < stepsOfJob; index++) {
          await step.do(['part', index], {
            work: async ({ attempt, signal }: { readonly attempt: number; readonly signal: AbortSignal }) => {
              await pause(node.host.clock, job?.workMs[index] ?? 0, signal)
              if (job?.throwsAt === index && attempt === 1) throw new Error('the work of a step fails')
              return index
            },
            commit: async (tx: { readonly operationId: string }, value: number, facts: CommitFacts) => {
              this.#commits.set(tx.operationId, facts)
              return value
            },
          })
        }
        return stepsOfJob
      },
    }
  }

  /** Starts a job on some node, and perhaps stops it on some other one. */
  begin(): void {
    const { random, scheduler } = this.#world
    const id = derivedId('job', this.#jobs.size)
    const workMs = Array.from({ length: stepsOfJob }, () => random.between(0, 300))
    const throwsAt = random.chance(0.2) ? random.between(0, stepsOfJob - 1) : undefined
    this.#jobs.set(id, { id, workMs, throwsAt, stoppedIn: undefined })
    const stopsAfterMs = random.chance(0.3) ? random.between(0, 2_000) : undefined
    this.#inside((node) => node.coordinator.run(this.#start(node, id)))
    if (stopsAfterMs !== undefined) scheduler.after(stopsAfterMs, () => this.#stop(id))
  }

  /** Lists jobs that have not ended. */
  get open(): readonly string[] {
    return [...this.#world.server.state.runs.values()]
      .filter(({ state }) => !isFinal(state))
      .map(({ id, state }) => `${this.#world.scheduler.nameOf('run', id)} is ${state}`)
  }

  check(): void {
    const { server, verdict, counts } = this.#world
    for (const run of server.state.runs.values()) {
      const steps = [...server.state.steps.values()].filter((step) => step.run === run.id).length
      counts.runs += 1
      counts.runSteps += steps
      if (run.attempt > 1) counts.takeovers += 1
      if (run.isStopRequested) counts.stops += 1
      if (run.state === 'completed' && steps !== stepsOfJob)
        verdict.broken('runs', `a run is completed with ${steps} steps`)
      const stop = this.#jobs.get(run.id)?.stoppedIn
      if (
        stop === server.generation &&
        isFinal(run.state) &&
        run.state !== 'cancelled' &&
        run.isStopRequested
      )
        verdict.broken('runs', `a run was stopped, and is ${run.state}`)
      const states = (server.state.events.get(run.channel) ?? [])
        .filter(({ type, data }) => type === 'run.state' && data.includes(run.id))
        .map(({ data }) => (JSON.parse(data) as { readonly state: string }).state)
      if (states.at(-1) !== run.state)
        verdict.broken('runs', `a run is ${run.state}, and its last event says ${states.at(-1)}`)
    }
  }

  #start(node: SimulatedNode, id: string) {
    const user = { id: 'ada' }
    const run = {
      id,
      task: jobName,
      user,
      channel: `jobs:${id.slice(-1)}`,
      input: 'null',
      onNodeDeath: 'retry',
      timeoutMs: null,
      startAt: undefined,
    }
    const facts = { id, name: jobName, user, rollback: {}, inputHash: 'job', intent: true }
    const work = async (tx: Parameters<typeof handleIn>[0]): Promise<void> =>
      handleIn(tx, node.runsPart as RunsPart).start(run)
    return { ...facts, work, since: node.coordinator.earliestArrival }
  }

  #stop(id: string): void {
    const { server } = this.#world
    const { generation } = server
    this.#inside(async (node) => {
      const before = server.state.runs.get(id)
      const hadEnded = before !== undefined && isFinal(before.state)
      await node.runs?.stop(id, jobName)
      const [job, run] = [this.#jobs.get(id), server.state.runs.get(id)]
      if (generation !== server.generation || job === undefined || run === undefined || hadEnded) return
      job.stoppedIn = generation
      if (!run.isStopRequested && !isFinal(run.state))
        this.#world.verdict.broken('runs', `a stop was acknowledged, and the run is ${run.state}`)
    })
  }

  #inside(work: (node: SimulatedNode) => Promise<unknown>): void {
    const node = this.#world.pickNode()
    if (node === undefined) return
    // A start that fails has begun nothing, and a stop that fails was acknowledged to nobody.
    this.#world.inside(node, () =>
      whenSettled(
        node.host.alive(work(node)),
        () => {},
        () => {},
      ),
    )
  }

  /** Judges a step at the moment in which it commits, by what its code was told. */
  #committed(id: string, name: string, operation: string): void {
    const { server, verdict } = this.#world
    const [run, facts] = [server.state.runs.get(id), this.#commits.get(operation)]
    if (run === undefined || facts === undefined) return
    if (server.state.steps.has(`${id} ${name}`)) verdict.broken('runs', 'a step of a run commits twice')
    if (run.state !== 'running') verdict.broken('runs', `a step commits in a run that is ${run.state}`)
    else if (run.attempt !== facts.attempt)
      verdict.broken('runs', `attempt ${facts.attempt} commits a step, and ${run.attempt} has the run`)
    if (run.isStopRequested !== facts.stopped)
      verdict.broken('runs', 'a step commits that was not told how its run stands')
  }
}

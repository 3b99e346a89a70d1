import { faultPoint } from '../../core/fault-point.ts'
import {
  newOperationId,
  serverUser,
  userChannel,
  type Queryable,
  type UserContext,
} from '../../core/index.ts'
import { toStoredEvents, type StoredEvent } from '../../log/index.ts'
import type { Notice, StreamPosition } from '../../protocol/index.ts'
import {
  changeRun,
  declareTasks,
  noteThrow,
  readDueRuns,
  readHeads,
  readNextLeaseEnd,
  readOpenRuns,
  readRun,
  readRunEnds,
  readRunReport,
  readRunsOfDeadNodes,
  readStep,
  readSteps,
  readTries,
  readUndeclared,
  saveProgress,
  toHeads,
  type ChangedRow,
  type DueQuestion,
  type NextLeaseRow,
  type OpenRunRow,
  type RunEndRow,
  type RunReportRow,
  type RunRow,
  type StepRow,
  type StepThrow,
  type TriesRow,
  type UndeclaredRow,
} from '../../postgres/index.ts'
import { toPendingEvent } from '../../transaction/index.ts'
import type { RunChange, RunFacts } from '../model/run-decisions.ts'
import { statesBy } from '../model/run-machine.ts'
import { fromKept } from '../model/kept-value.ts'
import { derivedId } from '../model/step-name.ts'
import { noticeType, stateEvent } from './run-events.ts'

/** A run, as its row has it. */
export interface StoredRun {
  readonly id: string
  readonly task: string
  readonly user: UserContext
  readonly userId: string
  readonly channel: string
  readonly input: unknown
  readonly facts: RunFacts
  /** Lease of the node that has it. */
  readonly node: string | null
  readonly isOwnerDead: boolean
}

export interface RunStoreOptions {
  readonly own: Queryable
  readonly schema: string
  readonly epoch: () => string
  /** Takes committed events to their subscribers. */
  readonly deliver: (events: readonly StoredEvent[], epoch: string) => void
}

/** Facts of a change beside what was decided. */
export interface ChangeOptions {
  /** Lease of the node that changes the run. */
  readonly node: string
  /** JSON text of the run's result. */
  readonly result?: string | null
  readonly notice?: Notice | undefined
  /** Longest wait for a lock, in milliseconds; and the last step that was seen committed, which has to be there. */
  readonly waitMs: number
  readonly lastStep?: string | undefined
  /** Id of the change: the same where it is asked for once more, since the answer was lost. Default: a new one. */
  readonly operation?: string
}

/** How a run stands after a change was asked for. */
export interface Changed {
  /** False where the run had changed since it was read. */
  readonly isChanged: boolean
  readonly run: StoredRun
}

/** Reads and changes runs in the database. Errors are those of the database. */
export class RunStore {
  readonly #own: Queryable
  readonly #schema: string
  readonly #epoch: () => string
  readonly #deliver: RunStoreOptions['deliver']

  constructor({ own, schema, epoch, deliver }: RunStoreOptions) {
    this.#own = own
    this.#schema = schema
    this.#epoch = epoch
    this.#deliver = deliver
  }

  /** Runs that wait and are due, oldest first. */
  async due(question: DueQuestion): Promise<readonly StoredRun[]> {
    return (await this.#own.query<RunRow>(readDueRuns(this.#schema, question))).rows.map(toStoredRun)
  }

  async ofDeadNodes(question: DueQuestion): Promise<readonly StoredRun[]> {
    return (await this.#own.query<RunRow>(readRunsOfDeadNodes(this.#schema, question))).rows.map(toStoredRun)
  }

  /** Time until the lease of another node may run out, in milliseconds; undefined where there is none. */
  async nextLeaseEndMs(node: string): Promise<number | undefined> {
    const { rows } = await this.#own.query<NextLeaseRow>(readNextLeaseEnd(this.#schema, node))
    return rows[0]?.in_ms ?? undefined
  }

  async read(id: string): Promise<StoredRun | undefined> {
    const { rows } = await this.#own.query<RunRow>(readRun(this.#schema, id))
    return rows[0] && toStoredRun(rows[0])
  }

  async report(id: string): Promise<RunReportRow | undefined> {
    return (await this.#own.query<RunReportRow>(readRunReport(this.#schema, id))).rows[0]
  }

  /** The open runs of a channel, and a position whose events they contain. */
  async openIn(
    channel: string,
  ): Promise<{ readonly position: StreamPosition; readonly runs: readonly OpenRunRow[] }> {
    // The position first: what ends meanwhile is told by an event behind it.
    const { rows: heads } = await this.#own.query(readHeads(this.#schema, [channel]))
    const { rows } = await this.#own.query<OpenRunRow>(readOpenRuns(this.#schema, channel))
    const { epoch, heads: known } = toHeads(heads)
    return { position: { offset: known.get(channel) ?? 0, epoch }, runs: rows }
  }

  async ends(ids: readonly string[]): Promise<readonly RunEndRow[]> {
    return (await this.#own.query<RunEndRow>(readRunEnds(this.#schema, ids))).rows
  }

  async steps(run: string): Promise<readonly StepRow[]> {
    return (await this.#own.query<StepRow>(readSteps(this.#schema, run))).rows
  }

  async step(run: string, name: string): Promise<StepRow | undefined> {
    return (await this.#own.query<StepRow>(readStep(this.#schema, run, name))).rows[0]
  }

  async tries(run: string): Promise<readonly TriesRow[]> {
    return (await this.#own.query<TriesRow>(readTries(this.#schema, run))).rows
  }

  /** Counts a throw once. @returns how often the step has thrown; undefined where the run is not this attempt's any more */
  async noteThrow(thrown: StepThrow): Promise<number | undefined> {
    await faultPoint('runs.before-throw-noted')
    const { rows } = await this.#own.query<{ readonly thrown: number }>(noteThrow(this.#schema, thrown))
    await faultPoint('runs.after-throw-noted')
    return rows[0]?.thrown
  }

  /** @param value JSON text */
  async saveProgress(of: Parameters<typeof saveProgress>[1], value: string): Promise<void> {
    await this.#own.query(saveProgress(this.#schema, of, value))
  }

  async declare(tasks: readonly string[]): Promise<void> {
    await this.#own.query(declareTasks(this.#schema, tasks))
  }

  async undeclared(forMs: number): Promise<readonly UndeclaredRow[]> {
    return (await this.#own.query<UndeclaredRow>(readUndeclared(this.#schema, forMs))).rows
  }

  /** Takes a run on, or ends one that cannot be taken on: while the lease of the node holds, and its owner's does not. */
  claim(run: StoredRun, change: RunChange, options: ChangeOptions): Promise<Changed | undefined> {
    return this.#change(run, change, options, { isClaim: true, isStop: false })
  }

  /** Changes a run that is as it was seen. @returns undefined where there is no such run */
  change(run: StoredRun, change: RunChange, options: ChangeOptions): Promise<Changed | undefined> {
    return this.#change(run, change, options, { isClaim: false, isStop: change.inputs.includes('stop') })
  }

  /** Asks the node of a run to stop it. */
  requestStop(run: StoredRun, options: ChangeOptions): Promise<Changed | undefined> {
    const { attempt, deaths } = run.facts
    const change = { inputs: [], attempt, deaths, pauseMs: 0 }
    return this.#change(run, change, options, { isClaim: false, isStop: true })
  }

  async #change(
    run: StoredRun,
    { inputs, attempt, deaths, pauseMs }: RunChange,
    { node, result = null, notice, waitMs, lastStep, operation = newOperationId() }: ChangeOptions,
    { isClaim, isStop }: { readonly isClaim: boolean; readonly isStop: boolean },
  ): Promise<Changed | undefined> {
    const { facts } = run
    const states = statesBy(facts.state, inputs)
    const events = states.map((state) => {
      const code = state === states.at(-1) ? notice?.errorCode : undefined
      return toPendingEvent(stateEvent(run, { state, attempt, code }))
    })
    const failure = notice && {
      operation: derivedId('end of run', run.id),
      notice,
      type: noticeType,
      channel: userChannel(run.userId),
    }
    const epoch = this.#epoch()
    const { rows } = await this.#own.query<ChangedRow>(
      changeRun(this.#schema, {
        operation,
        name: `lockstep.runs.${inputs[0] ?? 'request_stop'}`,
        userId: serverUser.id,
        node,
        run: run.id,
        seen: {
          state: facts.state,
          attempt: facts.attempt,
          is_stop_requested: facts.isStopRequested,
          node: run.node,
        },
        isClaim,
        isStop,
        state: states.at(-1) ?? facts.state,
        attempt,
        deaths,
        pauseMs,
        result,
        failure,
        events,
        waitMs,
        lastStep,
      }),
    )
    const [row] = rows
    if (row === undefined) return undefined
    const at = new Date(row.at_ms ?? 0)
    if (row.is_changed && row.positions !== null) {
      const offsets = new Map(Object.entries(row.positions))
      const withdrawn = (row.withdrawn ?? []).map((event) => ({ ...event, at: new Date(event.at) }))
      const stored = [...withdrawn, ...toStoredEvents(operation, events, { offsets, at })]
      if (failure !== undefined && row.notice_offset !== null) {
        const { channel, type } = failure
        const data = JSON.stringify(failure.notice)
        stored.push({ channel, type, data, at, offset: row.notice_offset, operationId: failure.operation })
      }
      if (stored.length > 0) this.#deliver(stored, epoch)
    }
    return { isChanged: row.is_changed, run: { ...run, ...changedBy(run, row) } }
  }
}

function changedBy(run: StoredRun, row: ChangedRow): Pick<StoredRun, 'facts' | 'node'> {
  return {
    node: row.node,
    facts: {
      ...run.facts,
      state: row.state,
      attempt: row.attempt,
      deaths: row.deaths,
      isStopRequested: row.is_stop_requested,
      leftMs: row.left_ms,
    },
  }
}

/** JSON drops the mark by which `serverUser` is known, and no other user has its id. */
function toUser(startedBy: string): UserContext {
  const user = JSON.parse(startedBy) as UserContext
  return user.id === serverUser.id ? { ...user, ...serverUser } : user
}

function toStoredRun(row: RunRow): StoredRun {
  const user = toUser(row.started_by)
  return {
    id: row.id,
    task: row.task,
    user,
    userId: user.id,
    channel: row.channel,
    input: fromKept(row.input),
    node: row.node,
    isOwnerDead: row.is_owner_dead,
    facts: {
      state: row.state,
      attempt: row.attempt,
      deaths: row.deaths,
      isStopRequested: row.is_stop_requested,
      onNodeDeath: row.on_node_death,
      leftMs: row.left_ms,
    },
  }
}

// Effects of the statements about runs on the modelled database. Gates are exclusive here: what takes one shared waits for others.
import { LockstepError, type Statement } from '../../../src/core/index.ts'
import * as sql from '../../../src/postgres/index.ts'
import { isFinal } from '../../../src/runs/index.ts'
import type { ModelServer, Rows } from './server.ts'
import { schema, type ModelRun } from './state.ts'
import type { Handler } from './statements.ts'

type On = (statement: Statement, handler: Handler) => readonly [string, Handler]

const none = '00000000-0000-7000-8000-000000000000'
const entry = { run: none, attempt: 0, node: none, isStopped: false, lastStep: undefined }
const question = { tasks: [], limit: 0, except: [] }
const seen = { state: 'pending' as const, attempt: 0, is_stop_requested: false, node: null }
const request: sql.RunChangeRequest = {
  operation: none,
  name: '',
  userId: '',
  node: none,
  run: none,
  seen,
  isClaim: false,
  state: 'pending',
  attempt: 0,
  deaths: 0,
  pauseMs: 0,
  isStop: false,
  result: null,
  failure: undefined,
  events: [],
  waitMs: 0,
}
const newRun = {
  id: none,
  task: '',
  user: { id: '' },
  channel: '',
  input: null,
  onNodeDeath: '',
  timeoutMs: null,
  startAt: undefined,
}

/** Texts of the statements that a flush may hold beside that of its outcome. */
export const flushTexts = {
  enter: sql.enterStep(schema, entry).text,
  run: sql.insertRun(schema, newRun).text,
  step: sql.insertStep(schema, { run: none, name: '', operation: none }, null).text,
}

export const gateOf = (run: string): string => `gate ${run}`
const placeOf = (run: string, name: unknown): string => `${run} ${String(name)}`

/** Takes a run on if its operation commits. */
export function beginRun(server: ModelServer, values: readonly unknown[]): void {
  const [id, task, userId, startedBy, channel, input] = values.map(String)
  server.state.runs.set(id ?? '', {
    id: id ?? '',
    task: task ?? '',
    userId: userId ?? '',
    startedBy: startedBy ?? '',
    channel: channel ?? '',
    input: input ?? '',
    state: 'pending',
    attempt: 0,
    deaths: 0,
    node: null,
    notBeforeMs: server.scheduler.nowMs,
    isStopRequested: false,
    endedAtMs: null,
    result: null,
  })
}

/** The fence of a step. @throws LS_RUN_LOST, LS_RUN_STOPPED, as `enter_step` does */
export function enterStep(server: ModelServer, values: readonly unknown[]): void {
  const [run, attempt, node, isStopped, lastStep] = values
  const row = server.state.runs.get(String(run))
  if (row?.state !== 'running' || row.attempt !== attempt || row.node !== node)
    throw new LockstepError('LS_RUN_LOST')
  if (row.isStopRequested !== isStopped) throw new LockstepError('LS_RUN_STOPPED')
  if (lastStep !== null && !server.state.steps.has(placeOf(row.id, lastStep)))
    throw new LockstepError('LS_RUN_LOST')
}

/** @throws LS_OPERATION_FENCED for a step that has committed */
export function assertNewStep(server: ModelServer, [run, name]: readonly unknown[]): void {
  if (server.state.steps.has(placeOf(String(run), name))) throw new LockstepError('LS_OPERATION_FENCED')
}

export function keepStep(server: ModelServer, [run, name, operation, result]: readonly unknown[]): void {
  const [id, key] = [String(run), String(name)]
  server.onStep(id, key, String(operation))
  server.state.steps.set(placeOf(id, key), { run: id, name: key, result: result as string | null })
}

export function createRunStatements(server: ModelServer, on: On) {
  const { scheduler } = server
  const due = (values: readonly unknown[], isThere: (run: ModelRun) => boolean): Rows => {
    const [tasks, limit, except] = values as [readonly string[], number, readonly string[]]
    return [...server.state.runs.values()]
      .filter((run) => tasks.includes(run.task) && !except.includes(run.id) && isThere(run))
      .toSorted((one, other) => one.notBeforeMs - other.notBeforeMs)
      .slice(0, limit)
      .map((run) => toRow(server, run))
  }
  const stepsOf = (run: unknown): Rows =>
    [...server.state.steps.values()]
      .filter((step) => step.run === run)
      .map(({ name, result }) => ({ name, result }))
  return [
    on(sql.readDueRuns(schema, question), (values) =>
      due(values, ({ state, notBeforeMs }) => state === 'pending' && notBeforeMs <= scheduler.nowMs),
    ),
    on(sql.readRunsOfDeadNodes(schema, question), (values) =>
      due(values, ({ state, node }) => state === 'running' && node !== null && server.isDead(node)),
    ),
    on(sql.readNextLeaseEnd(schema, none), ([node]) => {
      const ends = [...server.state.leases].flatMap(([id, { untilMs }]) =>
        id !== node && untilMs >= scheduler.nowMs ? [untilMs - scheduler.nowMs] : [],
      )
      return [{ in_ms: ends.length === 0 ? null : Math.min(...ends) }]
    }),
    on(sql.readRun(schema, none), ([id]) => {
      const run = server.state.runs.get(String(id))
      return run === undefined ? [] : [toRow(server, run)]
    }),
    on(sql.readSteps(schema, none), ([run]) => stepsOf(run)),
    on(sql.readStep(schema, none, ''), ([run, name]) => stepsOf(run).filter((step) => step['name'] === name)),
    on(sql.readTries(schema, none), ([run]) =>
      [...server.state.tries.values()]
        .filter((tried) => tried.run === run)
        .map((tried) => ({ ...tried, error: '' })),
    ),
    on(
      sql.noteThrow(schema, { run: none, name: '', attempt: 0, node: none, throws: 0, error: '' }),
      ([id, attempt, node, name, throws]) => {
        const run = server.state.runs.get(String(id))
        if (run?.state !== 'running' || run.attempt !== attempt || run.node !== node) return []
        const place = placeOf(run.id, name)
        const known = server.state.tries.get(place)
        const isCopy = known?.attempt === attempt && known.throws === throws
        const thrown = (known?.thrown ?? 0) + (isCopy ? 0 : 1)
        const tried = {
          run: run.id,
          name: String(name),
          thrown,
          attempt: run.attempt,
          throws: Number(throws),
        }
        server.state.tries.set(place, tried)
        return [{ thrown }]
      },
    ),
    on(sql.declareTasks(schema, []), () => []),
    on(sql.readUndeclared(schema, 0), () => []),
    on(sql.changeRun(schema, request), (values) => change(server, values)),
  ]
}

function toRow(server: ModelServer, run: ModelRun): Record<string, unknown> {
  return {
    id: run.id,
    task: run.task,
    started_by: run.startedBy,
    channel: run.channel,
    input: run.input,
    state: run.state,
    attempt: run.attempt,
    deaths: run.deaths,
    on_node_death: 'retry',
    is_stop_requested: run.isStopRequested,
    left_ms: null,
    node: run.node,
    is_owner_dead: run.node !== null && server.isDead(run.node),
  }
}

async function change(server: ModelServer, values: readonly unknown[]): Promise<Rows> {
  const [operation, name, userId, node, id] = values.map(String)
  const [channels, places, types, data] = [values[20], values[22], values[24], values[25]] as [
    readonly string[],
    readonly number[],
    readonly string[],
    readonly string[],
  ]
  const { generation } = server
  const keys = [gateOf(id ?? ''), ...channels.map((channel) => `head ${channel}`)]
  const hasLocks = await server.locks.take(keys, Number(values[26]))
  if (generation !== server.generation) throw new LockstepError('LS_CONNECTION_LOST')
  if (!hasLocks) throw new LockstepError('LS_STATEMENT_TIMEOUT')
  try {
    const run = server.state.runs.get(id ?? '')
    if (run === undefined) return []
    const known = server.outcomeOf(operation ?? '', userId ?? '')
    let positions = known?.positions ?? null
    const isChanged = known !== undefined || isAsSeen(server, run, values)
    if (isChanged && known === undefined) {
      applyChange(server, run, values)
      const offsets = server.append(
        types.map((type, index) => ({
          channel: channels[(places[index] ?? 1) - 1] ?? '',
          operationId: operation ?? '',
          type,
          data: data[index] ?? '',
        })),
      )
      positions = Object.fromEntries(channels.map((channel) => [channel, server.headOf(channel)]))
      server.store({
        id: operation ?? '',
        name: name ?? '',
        userId: userId ?? '',
        node: node ?? null,
        inputHash: name ?? '',
        state: 'committed',
        result: null,
        notice: null,
        positions,
      })
      server.scheduler.note('database', `${name} ${server.scheduler.nameOf('run', run.id)} ${offsets.length}`)
    }
    const { state, attempt, deaths, is_stop_requested, left_ms, node: owner } = toRow(server, run)
    const at = server.scheduler.clock.now()
    const row = { is_changed: isChanged, state, attempt, deaths, is_stop_requested, left_ms, node: owner }
    return [{ ...row, positions, notice_offset: null, at_ms: at }]
  } finally {
    server.locks.release(keys)
  }
}

function isAsSeen(server: ModelServer, run: ModelRun, values: readonly unknown[]): boolean {
  const [state, attempt, isStop, owner, isClaim] = values.slice(5, 10)
  const isSame =
    run.state === state && run.attempt === attempt && run.isStopRequested === isStop && run.node === owner
  const lastStep = values[27]
  if (lastStep !== null && !server.state.steps.has(placeOf(run.id, lastStep))) return false
  if (!isSame || isClaim !== true) return isSame
  return !server.isDead(String(values[3])) && (run.node === null || server.isDead(run.node))
}

function applyChange(server: ModelServer, run: ModelRun, values: readonly unknown[]): void {
  const now = server.scheduler.nowMs
  const [isClaim, state, attempt, deaths, pauseMs, isStop, result] = values.slice(9, 16)
  if (isFinal(run.state)) server.verdict.broken('runs', `a run that is ${run.state} becomes ${String(state)}`)
  run.state = state as ModelRun['state']
  run.attempt = Number(attempt)
  run.deaths = Number(deaths)
  if (run.state !== 'running') run.node = null
  else if (isClaim === true) run.node = String(values[3])
  if (run.state === 'pending') run.notBeforeMs = now + Number(pauseMs)
  if (isStop === true) run.isStopRequested = true
  if (isFinal(run.state)) run.endedAtMs = now
  run.result = result as string | null
}

// Statements about runs, sent by themselves: what the classes around them would decide is given by each test.
import { randomUUID } from 'node:crypto'
import type { Queryable } from '../../src/core/index.ts'
import {
  changeRun,
  insertRun,
  readRun,
  registerNode,
  type ChangedRow,
  type NewRun,
  type RunChangeRequest,
  type RunRow,
} from '../../src/postgres/index.ts'

export const schema = 'lockstep'

export async function addRun(own: Queryable, given: Partial<NewRun> = {}): Promise<string> {
  const id = given.id ?? randomUUID()
  const run: NewRun = {
    id,
    task: 'import',
    user: { id: 'ada' },
    channel: 'user:ada',
    input: '{"rows":3}',
    onNodeDeath: 'retry',
    timeoutMs: null,
    startAt: undefined,
    ...given,
  }
  await own.query(insertRun(schema, run))
  return id
}

export async function addNode(own: Queryable, leaseMs = 60_000): Promise<string> {
  const node = randomUUID()
  await own.query(registerNode(schema, node, leaseMs))
  return node
}

export async function rowOf(own: Queryable, id: string): Promise<RunRow> {
  const { rows } = await own.query<RunRow>(readRun(schema, id))
  if (rows[0] === undefined) throw new Error(`no run ${id}`)
  return rows[0]
}

/** Asks for a change of a run as it is now, unless it is said how it was seen. */
export async function change(
  own: Queryable,
  run: string,
  given: Partial<RunChangeRequest>,
): Promise<ChangedRow | undefined> {
  const seen = given.seen ?? (await rowOf(own, run))
  const asked: RunChangeRequest = {
    operation: randomUUID(),
    name: 'lockstep.runs.test',
    userId: 'lockstep:server',
    node: randomUUID(),
    run,
    seen,
    isClaim: false,
    state: seen.state,
    attempt: seen.attempt,
    deaths: 0,
    pauseMs: 0,
    isStop: false,
    result: null,
    failure: undefined,
    events: [],
    waitMs: 2_000,
    ...given,
  }
  return (await own.query<ChangedRow>(changeRun(schema, asked))).rows[0]
}

/** Takes a run on, under the next attempt. */
export async function claim(
  own: Queryable,
  run: string,
  node: string,
  given: Partial<RunChangeRequest> = {},
): Promise<ChangedRow | undefined> {
  const { attempt } = await rowOf(own, run)
  return change(own, run, { node, isClaim: true, state: 'running', attempt: attempt + 1, ...given })
}

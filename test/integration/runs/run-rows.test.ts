// The rows of runs on a real Postgres: who may change them, what keeps a step from committing, and in which order locks
// are taken.
import { randomUUID } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it, test } from 'vitest'
import type { Queryable } from '../../../src/core/index.ts'
import { fromPool } from '../../../src/index.ts'
import {
  enterStep,
  insertStep,
  noteThrow,
  readDueRuns,
  readSteps,
  trimRuns,
} from '../../../src/postgres/index.ts'
import { createWorld, type World } from '../../support/world.ts'
import { addNode, addRun, change, claim, rowOf, schema } from '../../support/run-rows.ts'

let world: World
let own: Queryable
beforeEach(async () => {
  world = await createWorld({ bus: false, monitor: { level: 'off' } })
  own = fromPool(world.direct).own
})
afterEach(() => world.close())

const expire = (node: string) =>
  world.direct.query(`update lockstep.nodes set lease_until = now() - interval '1 ms' where node = $1`, [
    node,
  ])

const stateEvent = (state: string, channel = 'user:ada') => ({
  channel,
  type: 'run.state',
  data: JSON.stringify({ state }),
})

const due = { tasks: ['import'], limit: 10, except: [] }

describe('a claim', () => {
  it('takes a run that waits, under the next attempt, with its events and its outcome', async () => {
    const [run, node] = [await addRun(own), await addNode(own)]
    const operation = randomUUID()
    const events = [stateEvent('starting'), stateEvent('running')]
    expect(await claim(own, run, node, { operation, events })).toMatchObject({
      is_changed: true,
      state: 'running',
      attempt: 1,
      node,
      positions: { 'user:ada': 2 },
    })
    expect((await world.eventsOf('user:ada')).map(({ data }) => data)).toEqual([
      { state: 'starting' },
      { state: 'running' },
    ])
    expect(
      await world.rows('select name, state from lockstep.operations where id = $1', [operation]),
    ).toEqual([{ name: 'lockstep.runs.test', state: 'committed' }])
  })

  it('is answered as it was when it is sent again', async () => {
    const [run, node] = [await addRun(own), await addNode(own)]
    const seen = await rowOf(own, run)
    const request = { operation: randomUUID(), seen, attempt: 1, events: [stateEvent('running')] }
    const first = await claim(own, run, node, request)
    expect(await claim(own, run, node, request)).toEqual({ ...first, left_ms: null })
    expect(await world.eventsOf('user:ada')).toHaveLength(1)
  })

  it('needs the lease of its own node', async () => {
    const [run, node] = [await addRun(own), await addNode(own)]
    await expire(node)
    expect(await claim(own, run, node)).toMatchObject({ is_changed: false, state: 'pending', attempt: 0 })
  })

  it('leaves a run to its node while that one lives, and takes it once its lease has run out or is gone', async () => {
    const run = await addRun(own)
    const [first, second, third] = [await addNode(own), await addNode(own), await addNode(own)]
    await claim(own, run, first)
    expect(await claim(own, run, second)).toMatchObject({ is_changed: false, node: first, attempt: 1 })
    await expire(first)
    expect(await claim(own, run, second, { deaths: 1 })).toMatchObject({
      is_changed: true,
      node: second,
      attempt: 2,
      deaths: 1,
    })
    await world.direct.query('delete from lockstep.nodes where node = $1', [second])
    expect(await claim(own, run, third)).toMatchObject({ is_changed: true, node: third, attempt: 3 })
  })

  it('takes no renewal that commits late for a death', async () => {
    const run = await addRun(own)
    const [first, second] = [await addNode(own), await addNode(own)]
    await claim(own, run, first)
    await expire(first)
    const renewal = await world.direct.connect()
    await renewal.query('begin')
    await renewal.query(`update lockstep.nodes set lease_until = now() + interval '1 min' where node = $1`, [
      first,
    ])
    // The COMMIT waits for the disk: to all others the lease looks as if it had run out.
    expect((await rowOf(own, run)).is_owner_dead).toBe(true)
    expect(await claim(own, run, second)).toMatchObject({ is_changed: false, node: first })
    await renewal.query('commit')
    renewal.release()
    expect(await claim(own, run, second)).toMatchObject({ is_changed: false, node: first, attempt: 1 })
  })

  it('goes on beside another claim from the same dead node, which is in its COMMIT', async () => {
    const run = await addRun(own)
    const [dead, node] = [await addNode(own), await addNode(own)]
    await claim(own, run, dead)
    await expire(dead)
    const client = await world.direct.connect()
    await client.query('begin')
    await client.query('select from lockstep.nodes where node = $1 for share', [dead])
    expect(await claim(own, run, node)).toMatchObject({ is_changed: true, node })
    await client.query('commit')
    client.release()
  })

  it('of two nodes is one node’s', async () => {
    const run = await addRun(own)
    const nodes = [await addNode(own), await addNode(own)]
    const seen = await rowOf(own, run)
    const ends = await Promise.all(nodes.map((node) => claim(own, run, node, { seen, attempt: 1 })))
    expect(ends.filter((end) => end?.is_changed === true)).toHaveLength(1)
  })
})

describe('time of a run', () => {
  it('passes while a node has it, and not while it waits', async () => {
    const [run, node] = [await addRun(own, { timeoutMs: 60_000 }), await addNode(own)]
    expect((await rowOf(own, run)).left_ms).toBe(60_000)
    await claim(own, run, node)
    await world.direct.query(`update lockstep.runs set deadline = deadline - interval '20 s' where id = $1`, [
      run,
    ])
    expect(await change(own, run, { state: 'pending', pauseMs: 5_000 })).toMatchObject({ node: null })
    const { left_ms: left } = await rowOf(own, run)
    expect(left).toBeGreaterThan(30_000)
    expect(left).toBeLessThanOrEqual(40_000)
    expect((await own.query(readDueRuns(schema, due))).rows).toEqual([])
    await world.direct.query('update lockstep.runs set not_before = now() where id = $1', [run])
    expect((await own.query(readDueRuns(schema, due))).rows).toMatchObject([{ id: run, left_ms: left }])
  })
})

describe('a step', () => {
  const entry = (run: string, node: string, given = {}) =>
    enterStep(schema, { run, attempt: 1, node, isStopped: false, lastStep: undefined, ...given })

  it('enters while its run is in its attempt', async () => {
    const [run, node] = [await addRun(own), await addNode(own)]
    const lost = { code: 'LS_RUN_LOST' }
    await expect(own.query(entry(run, node))).rejects.toMatchObject(lost)
    await claim(own, run, node)
    await own.query(entry(run, node))
    await expect(own.query(entry(run, node, { attempt: 2 }))).rejects.toMatchObject(lost)
    // Two nodes may have claimed it under one number, one of them before a failover.
    await expect(own.query(entry(run, randomUUID()))).rejects.toMatchObject(lost)
    await expect(own.query(entry(randomUUID(), node))).rejects.toMatchObject(lost)
    await change(own, run, { state: 'completed' })
    await expect(own.query(entry(run, node))).rejects.toMatchObject(lost)
  })

  it('is refused where it was given another answer about a stop than is so', async () => {
    const [run, node] = [await addRun(own), await addNode(own)]
    await claim(own, run, node)
    await expect(own.query(entry(run, node, { isStopped: true }))).rejects.toMatchObject({
      code: 'LS_RUN_STOPPED',
    })
    await change(own, run, { isStop: true })
    await expect(own.query(entry(run, node))).rejects.toMatchObject({ code: 'LS_RUN_STOPPED' })
    await own.query(entry(run, node, { isStopped: true }))
  })

  it('is refused in a history that lacks the last step that was seen to commit', async () => {
    const [run, node] = [await addRun(own), await addNode(own)]
    await claim(own, run, node)
    await expect(own.query(entry(run, node, { lastStep: 'two' }))).rejects.toMatchObject({
      code: 'LS_RUN_LOST',
    })
    await own.query(insertStep(schema, { run, name: 'two', operation: randomUUID() }, '2'))
    await own.query(entry(run, node, { lastStep: 'two' }))
  })

  it('that throws counts no more once another attempt has the run, also while the claim is in its COMMIT', async () => {
    const [run, node] = [await addRun(own), await addNode(own)]
    await claim(own, run, node)
    const step = { run, attempt: 1, node, throws: 1, name: 'pay', error: 'no' }
    expect((await own.query(noteThrow(schema, step))).rows).toEqual([{ thrown: 1 }])
    const takeover = await world.direct.connect()
    await takeover.query('begin')
    await takeover.query('update lockstep.runs set attempt = 2 where id = $1', [run])
    const noted = own.query(noteThrow(schema, step))
    const waiting = `select 1 as waits from pg_stat_activity
      where datname = current_database() and wait_event_type = 'Lock'`
    await expect.poll(() => world.rows(waiting)).toEqual([{ waits: 1 }])
    await takeover.query('commit')
    takeover.release()
    expect((await noted).rows).toEqual([])
  })

  it('that an attempt has seen committed is needed for the end of the run, too', async () => {
    const [run, node] = [await addRun(own), await addNode(own)]
    await claim(own, run, node)
    const end = { node, state: 'completed' as const, lastStep: 'two' }
    expect(await change(own, run, end)).toMatchObject({ is_changed: false, state: 'running' })
    await own.query(insertStep(schema, { run, name: 'two', operation: randomUUID() }, '2'))
    expect(await change(own, run, end)).toMatchObject({ is_changed: true, state: 'completed' })
  })

  it('that throws counts once, however often that is noted', async () => {
    const [run, first, second] = [await addRun(own), await addNode(own), await addNode(own)]
    const note = async (attempt: number, node: string, throws: number): Promise<unknown> => {
      const noted = noteThrow(schema, { run, attempt, node, throws, name: 'pay', error: 'no' })
      return (await own.query<{ thrown: number }>(noted)).rows[0]?.thrown
    }
    await claim(own, run, first)
    expect(await note(1, first, 1)).toBe(1)
    // The answer was lost, and the note is sent again.
    expect(await note(1, first, 1)).toBe(1)
    expect(await note(1, first, 2)).toBe(2)
    await expire(first)
    await claim(own, run, second)
    expect(await note(2, second, 1)).toBe(3)
    expect(await note(2, second, 1)).toBe(3)
    // Another node had the attempt of this number in a history that is gone.
    expect(await note(2, first, 2)).toBeUndefined()
  })

  it('commits once under its name', async () => {
    const run = await addRun(own)
    const step = { run, name: 'pay', operation: randomUUID() }
    await own.query(insertStep(schema, step, '{"n":1}'))
    const again = own.query(insertStep(schema, { ...step, operation: randomUUID() }, '{"n":2}'))
    await expect(again).rejects.toMatchObject({ code: 'LS_OPERATION_FENCED' })
    expect((await own.query(readSteps(schema, run))).rows).toEqual([{ name: 'pay', result: '{"n":1}' }])
  })

  it('of a transaction that reads one snapshot is refused after a takeover, too', async () => {
    const run = await addRun(own)
    const [first, second] = [await addNode(own), await addNode(own)]
    await claim(own, run, first)
    const client = await world.direct.connect()
    await client.query('begin isolation level repeatable read')
    await client.query('select from lockstep.meta')
    await expire(first)
    await claim(own, run, second)
    const { text, values } = entry(run, first)
    await expect(client.query(text, [...(values ?? [])])).rejects.toMatchObject({ code: '40001' })
    await client.query('rollback')
    client.release()
  })

  it('that is in its COMMIT is waited for by a takeover, and holds it up no longer than it may wait', async () => {
    const run = await addRun(own)
    const [first, second] = [await addNode(own), await addNode(own)]
    await claim(own, run, first)
    const client = await world.direct.connect()
    const { text, values } = entry(run, first)
    await client.query('begin')
    await client.query(text, [...(values ?? [])])
    await expire(first)
    await expect(claim(own, run, second, { waitMs: 50 })).rejects.toMatchObject({
      code: 'LS_STATEMENT_TIMEOUT',
    })
    const taken = claim(own, run, second)
    await client.query('commit')
    client.release()
    expect(await taken).toMatchObject({ is_changed: true, attempt: 2 })
  })
})

test('a run that ended longer ago than it is kept is removed with all that belongs to it', async () => {
  const [old, recent, open] = [await addRun(own), await addRun(own), await addRun(own)]
  for (const run of [old, recent, open]) {
    await own.query(insertStep(schema, { run, name: 'one', operation: randomUUID() }, null))
    await world.direct.query(`insert into lockstep.run_tries values ($1, 'one', 1, 1, 1, 'x')`, [run])
    await world.direct.query(`insert into lockstep.run_progress values ($1, 1, '1', now())`, [run])
  }
  for (const [run, age] of [
    [old, '2 h'],
    [recent, '0 h'],
  ] as const)
    await world.direct.query(
      `update lockstep.runs set state = 'completed', ended_at = now() - $2::interval where id = $1`,
      [run, age],
    )
  await own.query(trimRuns(schema, 3_600_000, 0, 100))
  const left = [open, recent].toSorted()
  for (const [table, column] of [
    ['runs', 'id'],
    ['run_steps', 'run'],
    ['run_tries', 'run'],
    ['run_progress', 'run'],
  ])
    expect(await world.rows(`select ${column} as id from lockstep.${table} order by 1`)).toEqual(
      left.map((id) => ({ id })),
    )
})

const deadlocksOf = async (): Promise<string | undefined> => {
  const text = 'select deadlocks from pg_stat_database where datname = current_database()'
  return (await world.rows<{ deadlocks: string }>(text))[0]?.deadlocks
}

test(
  'a stop behind fifty steps that commit side by side is acknowledged within 500 ms',
  { timeout: 60_000 },
  async () => {
    const [run, node] = [await addRun(own), await addNode(own)]
    await claim(own, run, node)
    const load = { isOn: true }
    let steps = 0
    const parallel = async (): Promise<void> => {
      while (load.isOn) {
        const ending = world.lockstep.transaction({ name: 'step', user: 'ada' }, async (tx) => {
          const { text, values = [] } = enterStep(schema, {
            run,
            attempt: 1,
            node,
            isStopped: false,
            lastStep: undefined,
          })
          await tx.db.query(text, values)
          await tx.db.query('select pg_sleep(0.005)')
        })
        await ending.then(
          () => void (steps += 1),
          () => {},
        )
      }
    }
    const all = Array.from({ length: 50 }, parallel)
    await expect.poll(() => steps).toBeGreaterThan(100)
    const took: number[] = []
    for (let n = 0; n < 3; n++) {
      const since = performance.now()
      expect(await change(own, run, { isStop: true, events: [stateEvent('stopped')] })).toMatchObject({
        is_changed: true,
      })
      took.push(performance.now() - since)
      await world.direct.query('update lockstep.runs set stop_requested_at = null where id = $1', [run])
    }
    load.isOn = false
    await Promise.all(all)
    // A busy machine can only add to the time.
    expect(Math.min(...took)).toBeLessThan(500)
    expect(await deadlocksOf()).toBe('0')
  },
)

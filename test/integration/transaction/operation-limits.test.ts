// Operations that do not end by themselves: their time limit, what development says of their cause, and what health shows.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { newOperationId } from '../../../src/index.ts'
import { createWorld, type World } from '../../support/world.ts'

let world: World

beforeAll(async () => {
  world = await createWorld({ poolSize: 3 })
  await world.rows(`insert into notes values ('row', '0'), ('other', '0')`)
})
afterAll(() => world.close())

const never = new Promise<never>(() => {})
const noticeOf = async (id: string) =>
  (await world.rows<{ notice: unknown }>('select notice from lockstep.operations where id = $1', [id]))[0]
    ?.notice
const textOf = async (id: string) =>
  (await world.rows<{ text: string }>('select text from notes where id = $1', [id]))[0]?.text
const warnings = (code: string) => world.logger.lines.filter(({ fields }) => fields['code'] === code)

describe('an operation beyond its time limit', () => {
  it('is rolled back and its user is notified, its signal aborts, and its locks are free', async () => {
    const id = newOperationId()
    let reason: unknown
    const slow = world.lockstep.operation('slow', {
      input: z.object({}),
      timeoutMs: 1_000,
      async run({ tx, signal }) {
        signal.addEventListener('abort', () => (reason = signal.reason))
        await tx.db.query(`update notes set text = 'slow' where id = 'row'`)
        await never
      },
    })
    const { outcome, error } = await slow.execute({ id, user: 'slow', input: {} })
    expect(outcome.outcome).toBe('rolled_back')
    expect(error).toMatchObject({
      code: 'LS_OPERATION_TIMEOUT',
      message: expect.stringMatching(/"slow" had not ended after 1000 ms.*timeoutMs/) as string,
    })
    expect(reason).toBe(error)
    expect(await noticeOf(id)).toMatchObject({
      errorCode: 'LS_OPERATION_TIMEOUT',
      recoveryActions: ['retry'],
    })
    await world.rows(`update notes set text = '0' where id = 'row'`)
  })

  it('is stopped in the middle of a statement', async () => {
    const options = { name: 'sleeps', user: 'ada', timeoutMs: 50 }
    const running = world.lockstep.transaction(options, (tx) => tx.db.query('select pg_sleep(60)'))
    await expect(running).rejects.toMatchObject({ code: 'LS_OPERATION_TIMEOUT' })
  })

  it('is measured over all of its attempts', async () => {
    let attempts = 0
    const running = world.lockstep.transaction(
      { name: 'retried', user: 'ada', timeoutMs: 1_500 },
      async (tx) => {
        attempts += 1
        if (attempts > 1) await never
        await tx.db.query(`do $$ begin raise exception 'x' using errcode = '40001'; end $$`)
      },
    )
    await expect(running).rejects.toMatchObject({ code: 'LS_OPERATION_TIMEOUT' })
    expect(attempts).toBe(2)
  })

  it('that waits for a connection of its own pool lets the others go on', async () => {
    const leak = (user: string) =>
      world.lockstep.transaction({ name: 'leaks', user, timeoutMs: 1_500 }, async (tx) => {
        await tx.db.query('select 1')
        return world.pool.query('select 1')
      })
    const all = await Promise.allSettled(['ann', 'bob', 'cy', 'dan', 'eve', 'fay'].map(leak))
    expect(all.filter(({ status }) => status === 'rejected').length).toBeGreaterThan(0)
    const last = world.lockstep.transaction({ name: 'after', user: 'ada' }, (tx) =>
      tx.db.query('select 1 as n'),
    )
    expect((await last).rows).toEqual([{ n: 1 }])
  })

  it.each([0, 1.5, -1, Number.NaN, 2 ** 31])('is refused where the limit is %s', async (timeoutMs) => {
    const named = { code: 'LS_CONFIG_INVALID', message: expect.stringContaining('timeoutMs') as string }
    const options = { name: 'wrong', user: 'ada', timeoutMs }
    await expect(world.lockstep.transaction(options, () => never)).rejects.toMatchObject(named)
    expect(() =>
      world.lockstep.operation(`wrong_${Math.abs(Math.trunc(timeoutMs))}`, {
        input: z.object({}),
        timeoutMs,
        run: () => never,
      }),
    ).toThrow(expect.objectContaining(named))
  })
})

describe('in development', () => {
  const touch = (id: string) =>
    world.lockstep.transaction({ name: 'touch', user: 'ada' }, (tx) =>
      tx.db.query(`update notes set text = (text::int + 1)::text where id = $1`, [id]),
    )

  it('an operation inside an operation is warned of once, with both names and where they were called', async () => {
    for (let n = 0; n < 2; n++) {
      const outer = world.lockstep.transaction({ name: 'both', user: 'ada' }, async () => {
        await touch('other')
        throw new Error('the outer one fails')
      })
      await expect(outer).rejects.toThrow('the outer one fails')
    }
    // The inner operation's commit stays although the outer one fails, which is what the warning is for.
    expect(await textOf('other')).toBe('2')
    expect(warnings('LS_OPERATION_NESTED')).toMatchObject([
      {
        level: 'warn',
        message: expect.stringMatching(
          /"touch" was called inside "both" .* touch\.within\(tx, input\).*At: .*operation-limits.*Operation at: .*operation-limits/,
        ),
        fields: {
          operation: 'both',
          inner: 'touch',
          stack: expect.stringContaining('operation-limits.test.ts'),
          operationStack: expect.stringContaining('operation-limits.test.ts'),
        },
      },
    ])
  })

  it('the own pool inside an operation is warned of, whichever way it is used', async () => {
    const before = warnings('LS_OUTSIDE_TRANSACTION').length
    await world.lockstep.transaction({ name: 'outside', user: 'ada' }, async () => {
      await world.pool.query('select 1')
      const client = await world.pool.connect()
      client.release()
    })
    const told = warnings('LS_OUTSIDE_TRANSACTION').slice(before)
    expect(told).toHaveLength(2)
    expect(told[0]?.message).toMatch(
      /own pool while operation "outside" .* Use tx\.db\. At: .*operation-limits/,
    )
  })

  it('tx.db, within, hooks, what comes after the end and what comes from elsewhere are warned of in no way', async () => {
    const count = () => warnings('LS_OPERATION_NESTED').length + warnings('LS_OUTSIDE_TRANSACTION').length
    const before = count()
    let afterwards: Promise<unknown> = Promise.resolve()
    let release = (): void => {}
    const ended = new Promise<void>((resolve) => (release = resolve))
    let hooked: Promise<unknown> = Promise.resolve()
    const running = world.lockstep.transaction({ name: 'clean', user: 'ada' }, async (tx) => {
      await world.addNote.within(tx, { room: 'clean', id: 'clean', text: 'x' })
      await tx.db.query('select 1')
      tx.afterCommit(() => {
        hooked = touch('row')
      })
      afterwards = ended.then(() => Promise.all([touch('row'), world.pool.query('select 1')]))
    })
    await Promise.all([running, touch('other'), world.pool.query('select 1')])
    release()
    await Promise.all([afterwards, hooked])
    expect(count()).toBe(before)
  })
})

it('in production nothing is followed, and nothing is said', async () => {
  const before = process.env['NODE_ENV']
  process.env['NODE_ENV'] = 'production'
  const quiet = await createWorld({ poolSize: 3 })
  process.env['NODE_ENV'] = before
  const inner = () =>
    quiet.lockstep.transaction({ name: 'inner', user: 'ada' }, () => quiet.pool.query('select 1'))
  await quiet.lockstep.transaction({ name: 'outer', user: 'ada' }, inner)
  expect(quiet.logger.lines.filter(({ level }) => level === 'warn')).toEqual([])
  await quiet.close()
})

it('health shows the operation that has been open longest', async () => {
  const health = () => world.lockstep.health.report()
  expect((await health()).oldestOperation).toBeNull()
  let release = (): void => {}
  const gate = new Promise<void>((resolve) => (release = resolve))
  const older = world.lockstep.transaction({ name: 'older', user: 'ada' }, () => gate)
  const younger = world.lockstep.transaction({ name: 'younger', user: 'ada' }, () => gate)
  await expect.poll(async () => (await health()).oldestOperation?.openMs).toBeGreaterThan(0)
  expect((await health()).oldestOperation?.name).toBe('older')
  release()
  await Promise.all([older, younger])
  expect((await health()).oldestOperation).toBeNull()
})

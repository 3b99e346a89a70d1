// Mistakes in the code of a task: each is refused with words that say what to write instead.
import { afterAll, beforeAll, expect, it } from 'vitest'
import { z } from 'zod'
import type { UserContext } from '../../../src/index.ts'
import type { Steps } from '../../../src/runs/index.ts'
import { createWorld, type World } from '../../support/world.ts'

let world: World
beforeAll(async () => {
  world = await createWorld({ bus: false })
})
afterAll(() => world.close())

const input = z.object({})
type Step = Steps<never, UserContext, unknown>
let tasks = 0

/** Runs the code of a task, and answers how its run has ended, with the error that ended it. */
async function endOf(run: (step: Step) => Promise<unknown>, name = `task_${tasks++}`) {
  const task = world.lockstep.task(name, {
    input,
    retry: { attempts: 2, backoffMs: 0 },
    run: ({ step }) => run(step as unknown as Step),
  })
  const ref = await task.start({}, { user: 'ada' })
  const end = await task.ended(ref)
  const line = world.logger.lines.find(
    ({ message, fields }) => message === 'a run failed' && fields['run'] === ref.id,
  )
  const error = line?.fields['error'] as { readonly code?: string; readonly message?: string } | undefined
  return { ref, end, code: error?.code, message: error?.message }
}

it('a name that is used twice', async () => {
  const { code, message } = await endOf(async (step) => {
    await step.do('item', async () => 1)
    await step.do('item', async () => 2)
  }, 'import_twice')
  expect(code).toBe('LS_STEP_REPEATED')
  expect(message).toBe(
    'Step "item" was used twice in one run of task "import_twice". In a loop give each its own key: step.do(["item", i], …).',
  )
})

it('names with keys are as many as there are keys, and no two of them are one', async () => {
  const names = [['item', 1], ['item', 2], ['item', '1'], 'item', ['item', 'a', 1], '["item",1]'] as const
  const { end } = await endOf(async (step) => {
    const got: unknown[] = []
    for (const [index, name] of names.entries()) got.push(await step.do(name, async () => index))
    return got
  })
  expect(end).toEqual({ state: 'completed', result: [0, 1, 2, 3, 4, 5] })
})

it.each([
  ['work', (step: Step) => step.do('order', () => step.do('charge', async () => 1)), 'do("charge")'],
  [
    'commit',
    (step: Step) => step.commit('order', () => step.commit('charge', async () => 1)),
    'commit("charge")',
  ],
])('a step in the %s of a step', async (_, run, call) => {
  const name = `fulfil_${tasks++}`
  const { code, message } = await endOf(run, name)
  expect(code).toBe('LS_STEP_NESTED')
  expect(message).toBe(
    `step.${call} was called inside step "order" of task "${name}". Steps do not nest: call it after "order" has returned.`,
  )
})

it('a step in the transaction of an operation', async () => {
  const failed = world.lockstep.transaction({ name: 'x', user: 'ada' }, async (tx) => {
    await (tx as unknown as { readonly step: Step }).step.do('x', async () => 1)
  })
  await expect(failed).rejects.toMatchObject({
    code: 'LS_STEP_OUTSIDE_RUN',
    message: 'tx has no steps. Start a task instead: tx.start(task, input).',
  })
})

it('a step of a run that has returned', async () => {
  let late: Step | undefined
  const { end } = await endOf(async (step) => {
    late = step
  }, 'returned')
  expect(end).toMatchObject({ state: 'completed' })
  await expect(late?.do('after', async () => 1)).rejects.toMatchObject({
    code: 'LS_STEP_OUTSIDE_RUN',
    message:
      'step.do("after") of task "returned" was called after its run had returned. Await every step before run returns.',
  })
})

const circle: unknown[] = []
circle.push(circle)

it.each([
  ['a BigInt', { amount: 1n }, 'result.amount, a BigInt, which JSON cannot hold. Return String(amount).'],
  ['a Map', { list: [1, new Map()] }, 'result.list[1], a Map, which JSON cannot hold. Return [...list[1]].'],
  [
    'a function',
    { at: { work() {} } },
    'result.at.work, a function, which JSON cannot hold. Return what it stands for.',
  ],
  ['NaN', Number.NaN, 'result, the number NaN, which JSON cannot hold. Return null.'],
  [
    'a circle',
    circle,
    'result[0], an object that contains itself, which JSON cannot hold. Return a copy without the circle.',
  ],
])('a result that JSON cannot hold: %s', async (_, value, words) => {
  const name = `kept_${tasks++}`
  let works = 0
  const { code, message } = await endOf(
    (step) =>
      step.do('charge', async () => {
        works += 1
        return value
      }),
    name,
  )
  expect(code).toBe('LS_STEP_RESULT_INVALID')
  expect(message).toBe(`Step "charge" (task "${name}") returned ${words}`)
  expect(works).toBe(1)
})

it('a result that is too large', async () => {
  const { code } = await endOf((step) => step.do('big', async () => 'x'.repeat(300_000)))
  expect(code).toBe('LS_RESULT_TOO_LARGE')
})

it.each([
  ['', 'an empty text'],
  [7, 'the number 7'],
  [[1, 'x'], 'a list of 2'],
])('a name that is none: %o', async (name, given) => {
  const { code, message } = await endOf((step) => step.do(name as string, async () => 1))
  expect(code).toBe('LS_CONFIG_INVALID')
  expect(message).toContain(given === 'an empty text' ? 'the text ""' : given)
})

it('a step without functions', async () => {
  const { code, message } = await endOf((step) => step.do('x', {} as never))
  expect(code).toBe('LS_CONFIG_INVALID')
  expect(message).toBe(
    'step.do("x", …) takes a function, or { work, commit }: step.do("x", async ({ signal }) => { … }).',
  )
})

it('code that was changed and forgets a committed step, where it returns', async () => {
  let isChanged = false
  const { ref, code, message } = await endOf(async (step) => {
    if (!isChanged) {
      isChanged = true
      await step.do('one', async () => 1)
      await step.do('two', async () => {
        throw new Error('again')
      })
    }
  }, 'forgets')
  expect(code).toBe('LS_RUN_CODE_CHANGED')
  expect(message).toContain(
    `Run ${ref.id} of task "forgets" has committed step "one", which the code does not ask for any more: it has returned.`,
  )
})

it('code that was changed and begins a new step before a committed one', async () => {
  let isChanged = false
  const { code, message } = await endOf(async (step) => {
    const name = isChanged ? 'renamed' : 'one'
    isChanged = true
    await step.do(name, async () => 1)
    await step.do('two', async () => {
      throw new Error('again')
    })
  }, 'renames')
  expect(code).toBe('LS_RUN_CODE_CHANGED')
  expect(message).toContain('it begins step "renamed".')
})

it('steps side by side ask for those that have committed in any order', async () => {
  let failed = false
  const { end } = await endOf((step) =>
    Promise.all([
      step.do('slow', async () => {
        if (!failed) {
          failed = true
          throw new Error('again')
        }
        return 'slow'
      }),
      step.do('quick', async () => 'quick'),
    ]),
  )
  expect(end).toEqual({ state: 'completed', result: ['slow', 'quick'] })
})

it('options that cannot be, and a name that is taken', () => {
  const declare = (options: object, name = `bad_${tasks++}`) =>
    world.lockstep.task(name, { input, run: async () => {}, ...options })
  const refused = (message: string) =>
    expect.objectContaining({ code: 'LS_CONFIG_INVALID', message: expect.stringContaining(message) })
  expect(() => declare({ onStop: 'kept' })).toThrow(refused('must be one of'))
  expect(() => declare({ timeoutMs: 0 })).toThrow(refused('timeoutMs must be a whole number'))
  expect(() => declare({ retry: { attempts: 0 } })).toThrow(refused('retry.attempts must be a whole number'))
  expect(() => declare({ retries: 3 })).toThrow(refused('"retries" is no option of task'))
  expect(() => declare({}, 'add_note')).toThrow(refused('"add_note" is declared already, as an operation'))
})

it('tx.start of what is no task', async () => {
  const failed = world.lockstep.transaction({ name: 'x', user: 'ada' }, async (tx) => {
    tx.start('answer' as never, {} as never)
  })
  await expect(failed).rejects.toMatchObject({
    code: 'LS_CONFIG_INVALID',
    message:
      'tx.start takes a task and its input, and got the text "answer". Write tx.start(task, input) with what lockstep.task returned.',
  })
})

it('a task by a name of Lockstep’s own', () => {
  const own = expect.objectContaining({
    code: 'LS_CONFIG_INVALID',
    message: expect.stringContaining("Lockstep's own"),
  })
  expect(() => world.lockstep.task('lockstep', { input, run: async () => {} })).toThrow(own)
  for (const name of ['lockstep.x', 'Lockstep', 'x.y'])
    expect(() => world.lockstep.task(name, { input, run: async () => {} })).toThrow(
      expect.objectContaining({ code: 'LS_CONFIG_INVALID' }),
    )
})

it('an operation that starts a run and rolls back names the layers of the run', async () => {
  const task = world.lockstep.task('begun', { input, run: async () => {} })
  const start = world.lockstep.operation('start_and_fail', {
    input,
    async run({ tx }) {
      tx.start(task, {})
      throw new Error('no')
    },
  })
  const outcome = await start.call({}, { user: 'ada' })
  expect(outcome).toMatchObject({ notice: { affectedLayers: ['database', 'websocket', 'agent'] } })
})

it('steps by names made from data are operations of one name', async () => {
  const { end, ref } = await endOf(async (step) => {
    for (let n = 0; n < 3; n++) await step.do(`item ${n} ${'x'.repeat(150)}`, async () => n)
  }, 'many_names')
  expect(end).toMatchObject({ state: 'completed' })
  const names = await world.rows(
    `select distinct o.name from lockstep.operations o join lockstep.run_steps s on s.operation = o.id where s.run = $1`,
    [ref.id],
  )
  expect(names).toEqual([{ name: 'many_names' }])
})

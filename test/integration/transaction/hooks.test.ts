// Hooks after an operation has ended: only the end of the node waits for them.
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createWorld, type World } from '../../support/world.ts'

let world: World

beforeAll(async () => {
  world = await createWorld()
})
afterAll(() => world.close())

it.each([
  ['afterCommit', () => Promise.resolve('saved')],
  ['afterRollback', () => Promise.reject(new Error('failed'))],
] as const)('the reply does not wait for %s, however long it takes', async (kind, work) => {
  let release = (): void => {}
  const gate = new Promise<void>((resolve) => (release = resolve))
  const ran: string[] = []
  const running = world.lockstep.transaction({ name: 'slow_hook', user: 'ada' }, async (tx) => {
    tx[kind](async () => {
      ran.push('first begins')
      await gate
      ran.push('first ends')
    })
    tx[kind](() => void ran.push('second'))
    return work()
  })
  await running.catch(() => {})
  expect(ran).toEqual(['first begins'])
  release()
  await expect.poll(() => ran).toEqual(['first begins', 'first ends', 'second'])
})

it('a hook that throws, at once or later, is logged under its operation, and the next one runs', async () => {
  const ran: string[] = []
  await world.lockstep.transaction({ name: 'failing_hooks', user: 'ada' }, async (tx) => {
    tx.afterCommit(() => {
      throw new Error('at once')
    })
    tx.afterCommit(() => Promise.reject(new Error('later')))
    tx.afterCommit(() => void ran.push('third'))
  })
  await expect.poll(() => ran).toEqual(['third'])
  const logged = world.logger.lines.filter(({ fields }) => fields['operation'] === 'failing_hooks')
  expect(logged.map(({ level, fields }) => [level, fields['error'], fields['ending']])).toEqual([
    ['error', 'at once', 'committed'],
    ['error', 'later', 'committed'],
  ])
})

it('the end of the node waits for hooks that run', async () => {
  const other = await createWorld()
  let release = (): void => {}
  const gate = new Promise<void>((resolve) => (release = resolve))
  let hasEnded = false
  await other.lockstep.transaction({ name: 'hook', user: 'ada' }, async (tx) => {
    tx.afterCommit(() => gate.then(() => void (hasEnded = true)))
  })
  const closing = other.lockstep.close({ drainMs: 10_000 })
  setImmediate(release)
  await closing
  expect(hasEnded).toBe(true)
  await other.close()
})

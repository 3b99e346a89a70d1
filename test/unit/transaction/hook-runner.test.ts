import { expect, it } from 'vitest'
import { HookRunner, type HookFacts } from '../../../src/transaction/operation/hook-runner.ts'
import { createTestLogger } from '../../support/world.ts'

const facts: HookFacts = { operationId: 'id', operation: 'send', ending: 'committed' }

it('a hook that never ends is logged after its time, and the next one runs', async () => {
  const logger = createTestLogger()
  const runner = new HookRunner({ logger, hookLimitMs: 20 })
  const ran: string[] = []
  runner.run([() => new Promise(() => {}), () => void ran.push('second')], facts)
  await runner.idle()
  expect(ran).toEqual(['second'])
  expect(logger.lines).toMatchObject([
    {
      level: 'error',
      fields: { ...facts, limitMs: 20 },
      message: expect.stringContaining('has not ended in time'),
    },
  ])
})

it('is idle when the hooks of all operations have ended, and those that they started', async () => {
  const runner = new HookRunner({ logger: createTestLogger() })
  const ran: string[] = []
  runner.run(
    [
      async () => {
        await Promise.resolve()
        ran.push('first')
        runner.run([() => Promise.resolve().then(() => void ran.push('of another'))], facts)
      },
    ],
    facts,
  )
  await runner.idle()
  expect(ran).toEqual(['first', 'of another'])
})

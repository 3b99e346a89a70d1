// Errors before an operation has come to its transaction: it ends like any other, and leaves nothing open.
import { trace, type TracerProvider } from '@opentelemetry/api'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { newOperationId } from '../../../src/index.ts'
import { createWorld, type World } from '../../support/world.ts'

let world: World

beforeAll(async () => {
  world = await createWorld()
})
afterAll(async () => {
  trace.disable()
  await world.close()
})

function breakTracer(method: 'startSpan' | 'end'): void {
  const broken = (): never => {
    throw new Error(`the tracer broke at ${method}`)
  }
  const span = new Proxy(
    {},
    { get: (_, name) => (name === 'end' ? broken : () => ({ traceId: '', isRecording: () => true })) },
  )
  trace.disable()
  trace.setGlobalTracerProvider({
    getTracer: () => ({ startSpan: method === 'startSpan' ? broken : () => span }),
  } as unknown as TracerProvider)
}

const openOperations = async (): Promise<unknown> => {
  return (await world.lockstep.health.report()).openOperations
}

it('an operation whose span cannot be started is rolled back and its user is notified, and the same id can be asked for again', async () => {
  breakTracer('startSpan')
  const id = newOperationId()
  const run = () =>
    world.lockstep.transaction({ name: 'broken', user: 'ada', id }, () => Promise.resolve('never'))
  await expect(run()).rejects.toThrow('the tracer broke at startSpan')
  expect(await openOperations()).toBe(0)
  trace.disable()
  await expect(run()).rejects.toMatchObject({ code: 'LS_OPERATION_FAILED' })
  const [row] = await world.rows<{ state: string }>('select state from lockstep.operations where id = $1', [
    id,
  ])
  expect(row?.state).toBe('rolled_back')
})

it('an operation whose span cannot be ended is answered with its outcome', async () => {
  breakTracer('end')
  const run = world.lockstep.transaction({ name: 'broken', user: 'ada' }, () => Promise.resolve('saved'))
  await expect(run).resolves.toBe('saved')
  expect(await openOperations()).toBe(0)
})

import { describe, expect, it } from 'vitest'
import { LockstepError } from '../../../src/core/index.ts'
import { Interruption } from '../../../src/transaction/operation/interruption.ts'
import { whenAborted } from '../../../src/transaction/operation/when-aborted.ts'

it('many listeners in one operation are no leak that Node warns of', async () => {
  const warnings: Error[] = []
  const hear = (warning: Error) => warnings.push(warning)
  process.on('warning', hear)
  const { signal } = new Interruption()
  for (let n = 0; n < 20; n++) signal.addEventListener('abort', () => {})
  await new Promise((resolve) => setImmediate(resolve))
  process.off('warning', hear)
  expect(warnings).toEqual([])
})

describe('listening to a signal', () => {
  it('calls all that listen, in their order, each once, and with what the signal was aborted for', () => {
    const controller = new AbortController()
    const heard: unknown[] = []
    const stop = whenAborted(controller.signal, () => heard.push('gone'))
    whenAborted(controller.signal, () => heard.push('first', controller.signal.reason))
    whenAborted(controller.signal, () => heard.push('second'))
    stop()
    controller.abort('why')
    controller.abort('again')
    expect(heard).toEqual(['first', 'why', 'second'])
  })

  it('spares who stops listening because of another that was called', () => {
    const controller = new AbortController()
    const heard: string[] = []
    whenAborted(controller.signal, () => stopOther())
    const stopOther = whenAborted(controller.signal, () => heard.push('other'))
    whenAborted(controller.signal, () => heard.push('last'))
    controller.abort()
    expect(heard).toEqual(['last'])
  })
})

describe('an interruption', () => {
  const [first, second] = [
    new LockstepError('LS_OPERATION_TIMEOUT'),
    new LockstepError('LS_OPERATION_CANCELLED'),
  ]

  it('keeps its first reason, acts once, and aborts a signal that was asked for before or after', () => {
    const interruption = new Interruption()
    const acted: unknown[] = []
    const { signal } = interruption
    interruption.onInterrupt((reason) => acted.push(reason))
    interruption.interrupt(first)
    interruption.interrupt(second)
    expect(acted).toEqual([first])
    expect([interruption.reason, signal.reason, interruption.signal]).toEqual([first, first, signal])
    const late = new Interruption()
    late.interrupt(second)
    expect(late.signal.reason).toBe(second)
  })

  it('acts at once for whoever comes later, and not for whoever ignores it', () => {
    const interruption = new Interruption()
    const acted: string[] = []
    interruption.onInterrupt(() => acted.push('ignored'))
    interruption.ignore()
    interruption.interrupt(first)
    interruption.onInterrupt(() => acted.push('late'))
    expect(acted).toEqual(['late'])
  })
})

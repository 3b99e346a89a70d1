import { describe, expect, it } from 'vitest'
import { linkSignals, whenAborted } from '../../src/transaction/linked-signal.ts'

it('many calls at once with one signal, and many listeners in one call, are no leak that Node warns of', async () => {
  const warnings: Error[] = []
  const hear = (warning: Error) => warnings.push(warning)
  process.on('warning', hear)
  const { signal } = new AbortController()
  const links = Array.from({ length: 20 }, () => linkSignals([signal]))
  for (let n = 0; n < 20; n++) links[0]?.signal.addEventListener('abort', () => {})
  await new Promise((resolve) => setImmediate(resolve))
  process.off('warning', hear)
  expect(warnings).toEqual([])
})

describe('listening to a signal', () => {
  it('tells all that listen, in their order, each once, and with what the signal was aborted for', () => {
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

  it('spares who stops listening because of another that was told', () => {
    const controller = new AbortController()
    const heard: string[] = []
    whenAborted(controller.signal, () => stopOther())
    const stopOther = whenAborted(controller.signal, () => heard.push('other'))
    whenAborted(controller.signal, () => heard.push('last'))
    controller.abort()
    expect(heard).toEqual(['last'])
  })

  it('links to one that has aborted already, and unlinks from those that have not', () => {
    const [aborted, later] = [new AbortController(), new AbortController()]
    aborted.abort('before')
    expect(linkSignals([later.signal, aborted.signal]).signal.reason).toBe('before')
    const { signal, unlink } = linkSignals([later.signal])
    unlink()
    later.abort()
    expect(signal.aborted).toBe(false)
  })
})

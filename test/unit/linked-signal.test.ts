import { expect, it } from 'vitest'
import { linkSignals } from '../../src/transaction/linked-signal.ts'

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

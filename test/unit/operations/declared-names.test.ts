import { expect, test } from 'vitest'
import { Callables, type CallablePart } from '../../../src/node/rpc.ts'

const part = (name: string, kind: 'operation' | 'query' = 'operation'): CallablePart => ({
  kind,
  name,
  internal: false,
  rollback: {},
  execute: () => Promise.reject(new Error('not called')),
})

test.each(['send-message', 'Send', '1st', '', 'a b', 'x'.repeat(64)])(
  '%j is refused as a name, with one that fits',
  (name) => {
    expect(() => new Callables().declare(part(name))).toThrow(
      /is no name for an operation\. .* such as "send_message"/,
    )
  },
)

test('a name that is taken is refused, with what has taken it', () => {
  const callables = new Callables()
  callables.declare(part('history', 'query'))
  expect(() => callables.declare(part('history'))).toThrow('"history" is declared already, as a query.')
})

import { expect, test } from 'vitest'
import { emptyThread, mergeNewest, threadItems } from '../../../examples/chat/web/src/state/thread.ts'
import type { OutboxEntry, ShownMessage } from '../../../examples/chat/web/src/state/types.ts'

const message = (n: number, more: Partial<ShownMessage> = {}): ShownMessage => ({
  id: `m${n}`,
  conversationId: 'lobby',
  author: 'ada',
  body: `number ${n}`,
  createdAt: `2026-01-01T00:00:0${n}.000000Z`,
  isCommitted: true,
  ...more,
})
const numbers = (messages: readonly ShownMessage[]): string => messages.map(({ id }) => id.slice(1)).join('')

test('what was read again is added to what is here, and does not forget how far back that went', () => {
  const first = mergeNewest(emptyThread, { messages: [message(3), message(4)], hasEarlier: true })
  expect(first).toMatchObject({ status: 'ready', hasEarlier: true })
  const whole = { ...first, messages: [1, 2, 3, 4].map((n) => message(n)), hasEarlier: false }
  const again = mergeNewest(whole, { messages: [message(4), message(5)], hasEarlier: true })
  expect(numbers(again.messages)).toBe('12345')
  expect(again.hasEarlier).toBe(false)
})

test('what was read again begins anew where it does not reach what is here: nothing is missing in between', () => {
  const here = { status: 'ready', messages: [message(1), message(2)], hasEarlier: false } as const
  const again = mergeNewest(here, { messages: [message(5), message(6)], hasEarlier: true })
  expect(numbers(again.messages)).toBe('56')
  expect(again.hasEarlier).toBe(true)
})

test('a message that committed before the first page was read does not hide that there are earlier ones', () => {
  const here = { status: 'ready', messages: [message(4)], hasEarlier: false } as const
  const read = mergeNewest(here, { messages: [message(3), message(4)], hasEarlier: true })
  expect(numbers(read.messages)).toBe('34')
  expect(read.hasEarlier).toBe(true)
})

const sent = (state: OutboxEntry['state']): OutboxEntry => ({
  id: 'm1',
  conversationId: 'lobby',
  body: 'number 1',
  sentAt: 0,
  sortAt: '2026-01-01T00:00:01.000000Z',
  state,
})

test.each([
  ['that waits for its outcome is its author’s entry, also when it was shown early', false, 'sending', 'own'],
  ['that is believed to be sent is what was shown', false, 'believed', 'shown'],
  ['that is committed is what was shown', true, 'sending', 'shown'],
] as const)('a message %s', (_, isCommitted, kind, item) => {
  const thread = { ...emptyThread, messages: [message(1, { isCommitted })] }
  expect(threadItems(thread, [sent({ kind })]).map((found) => found.kind)).toEqual([item])
})

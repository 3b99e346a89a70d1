// Pushes without an offset, to a peer that is behind.
import { expect, it } from 'vitest'
import { Subscription, type SubscriptionHost } from '../../../src/gateway/connection/subscription.ts'

const pushOf = (type: string) => ({
  channel: 'talk:a',
  type,
  operationId: '0199d000-0000-7000-8000-000000000001',
  userId: 'ada',
  data: '{"draft":{},"runId":null,"chunks":[]}',
  at: new Date(0),
})

it.each([
  ['draft', 1],
  ['draft.retracted', 1],
  ['run.progress', 0],
])('%s that is dropped makes the subscriber join again %i times', (type, times) => {
  const lost: Subscription[] = []
  const host = { pushTransient: () => false } as unknown as SubscriptionHost
  const subscription = new Subscription('talk:a', { host, lost: (one) => void lost.push(one) })
  subscription.start()
  subscription.deliverTransient(pushOf(type))
  expect(lost).toHaveLength(times)
})

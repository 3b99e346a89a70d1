import { expect, it } from 'vitest'
import { SubjectSubscriptions } from '../../../src/bus/subject-subscriptions.ts'
import { silentLogger } from '../../../src/core/index.ts'
import { ManualClock } from '../../support/manual-clock.ts'

/** A broker that can be away, as a transport sees it: what a failed request came to is not known. */
function createBroker() {
  const heard = new Set<string>()
  const broker = { heard, isAway: false, clock: new ManualClock() }
  const answer = (): void => {
    if (broker.isAway) throw new Error('away')
  }
  const subscriptions = new SubjectSubscriptions({
    transport: {
      // Subscribes as the transport over Postgres does, whose connection begins with the subjects asked for when it
      // comes back.
      subscribe: async (subject) => {
        heard.add(subject)
        answer()
      },
      unsubscribe: async (subject) => {
        heard.delete(subject)
        answer()
      },
    },
    clock: broker.clock,
    logger: silentLogger,
    onSubscribed: () => {},
  })
  const settle = async (): Promise<void> => {
    await new Promise((resolve) => setImmediate(resolve))
    broker.clock.fireAll()
    await new Promise((resolve) => setImmediate(resolve))
  }
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
  return { broker, subscriptions, settle, turn }
}

it('hears again what was given up and wanted again while the broker was away', async () => {
  const { broker, subscriptions, settle, turn } = createBroker()
  subscriptions.want('one')
  await turn()
  broker.isAway = true
  subscriptions.unwant('one')
  await turn()
  subscriptions.want('one')
  broker.isAway = false
  await settle()
  expect([...broker.heard]).toEqual(['one'])
})

it('gives up what was wanted in vain while the broker was away', async () => {
  const { broker, subscriptions, settle, turn } = createBroker()
  broker.isAway = true
  subscriptions.want('one')
  await turn()
  subscriptions.unwant('one')
  broker.isAway = false
  await settle()
  expect([...broker.heard]).toEqual([])
})

it('counts on who wants a subject, whatever had failed before', async () => {
  const { broker, subscriptions, settle, turn } = createBroker()
  broker.isAway = true
  subscriptions.want('one')
  await turn()
  subscriptions.unwant('one')
  await turn()
  broker.isAway = false
  subscriptions.want('one')
  await settle()
  subscriptions.want('one')
  subscriptions.unwant('one')
  await settle()
  expect([...broker.heard]).toEqual(['one'])
  subscriptions.unwant('one')
  await settle()
  expect([...broker.heard]).toEqual([])
})

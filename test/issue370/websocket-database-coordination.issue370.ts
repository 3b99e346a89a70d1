// Scenarios where a WebSocket event and its database transaction meet: order, boundary, and both under stress.
import { troubles } from './application.ts'
import type { Sighting } from './judge.ts'
import { expectInStep, lookIntoTransaction } from './looks.ts'
import type { Person } from './person.ts'
import type { Scenario, ScenarioFile } from './scenario.ts'
import type { Asked } from './stage.ts'

/** Describes what is wrong with the offsets of consecutive events. */
function orderFaults(sightings: readonly Sighting[]): readonly string[] {
  const faults: string[] = []
  const first = sightings[0]?.offset
  if (sightings.some(({ offset }, n) => offset === undefined || offset !== (first ?? 0) + n)) {
    faults.push('events without a place of their own in the channel, or not in its order')
  }
  const counts = sightings.flatMap(({ type, data }) =>
    type === 'conversation.updated' ? [(data as { messages: number }).messages] : [],
  )
  if (counts.some((count, n) => count !== n + 1))
    faults.push('updates were not seen in the order of their commits')
  return faults
}

const eventOrdering: Scenario = {
  name: 'Event ordering: no event before its commit, and all in the order of the commits',
  async run(stage, expect) {
    const [ada, bob] = (await stage.converse('ordering', 'ada', 'bob')) as [Person, Person]
    const { ended, release } = await lookIntoTransaction(
      stage,
      { person: ada, to: 'ordering', body: 'held' },
      expect,
    )
    // The message that begins later and commits first has to be seen first.
    const overtaking = await stage.call(bob, 'send_message', { to: 'ordering', body: 'overtakes' }).ended
    release()
    const operations = [await ended, overtaking]
    const speak = async (person: Person): Promise<void> => {
      for (let n = 0; n < 15; n += 1) {
        operations.push(
          await stage.call(person, 'send_message', { to: 'ordering', body: `${person.id} ${n}` }).ended,
        )
      }
    }
    await Promise.all([speak(ada), speak(bob)])
    await expectInStep(stage, operations, expect)

    const seen = stage.witness.sightings.filter(({ channel }) => channel === 'conversation:ordering')
    for (const fault of orderFaults(seen)) expect(false, fault)
    const committed = await stage.rows<{ operation_id: string }>(
      `select operation_id from messages where conversation = 'ordering'
       order by pg_xact_commit_timestamp(xmin)`,
    )
    const created = seen
      .filter(({ type }) => type === 'message.created')
      .map(({ operationId }) => operationId)
    expect(
      created.join() === committed.map((row) => row.operation_id).join(),
      'messages were not seen in the order of their commits',
    )
    const wanted = seen.map(({ type, operationId }) => type + operationId).join()
    for (const person of [ada, bob]) {
      await person.heard.until((heard) => heard.length >= seen.length, `the events of ${person.id}`)
      const heard = person.heard.items.map(({ type, operationId }) => type + operationId).join()
      expect(heard === wanted, `${person.id} saw another order than the witness`)
    }
  },
}

const transactionBoundary: Scenario = {
  name: 'Transaction boundary: after the commit or not at all, and every rollback is notified',
  async run(stage, expect) {
    const [eve] = (await stage.converse('boundary', 'eve')) as [Person]
    const { ended, release } = await lookIntoTransaction(
      stage,
      { person: eve, to: 'boundary', body: 'within' },
      expect,
    )
    release()
    const operations = [await ended]
    for (const trouble of troubles) {
      const asked = await stage.call(eve, 'send_message', { to: 'boundary', body: trouble, trouble }).ended
      operations.push(asked)
      expect(asked.outcome === 'rolled_back', `the caller was not told that it failed (${trouble})`)
    }
    await expectInStep(stage, operations, expect)
    for (const { operationId, outcome } of operations) {
      if (outcome !== 'rolled_back') continue
      expect(!(await stage.witness.isReadable(operationId)), 'a row of a rolled back operation can be read')
      const text = eve.noticeOf(operationId)?.userMessage
      expect(text === undefined || text === 'Your message was not saved.', `the notice says "${text}"`)
    }
  },
}

const stress: Scenario = {
  name: 'Stress: 5 workers with 10 operations each, some of which fail',
  async run(stage, expect) {
    const names = Array.from({ length: 5 }, (_, n) => `worker${n}`)
    const people = await stage.converse('stress', ...names)
    const operations: Asked[] = []
    const work = async (person: Person): Promise<void> => {
      for (let n = 0; n < 10; n += 1) {
        const input = {
          to: 'stress',
          body: `${person.id} ${n}`,
          ...(n % 5 === 4 ? { trouble: 'throws' } : {}),
        }
        operations.push(await stage.call(person, 'send_message', input).ended)
      }
    }
    await Promise.all(people.map(work))
    await expectInStep(stage, operations, expect)
    const [row] = await stage.rows<{ messages: number }>(
      `select messages from conversations where id = 'stress'`,
    )
    expect(row?.messages === 40, `${row?.messages} messages were counted, 40 were sent`)
  },
}

export const websocketDatabaseCoordination: ScenarioFile = {
  file: 'websocket-database-coordination.issue370',
  scenarios: [eventOrdering, transactionBoundary, stress],
}

// Scenarios over all layers: many users at once, races, isolation, the path of a chat turn, and those that wait for the
// cache.
import type { Centrifuge } from 'centrifuge'
import { newOperationId } from '../../src/index.ts'
import { replyCodes, type OutcomeAnswer } from '../../src/protocol/index.ts'
import type { Person } from './person.ts'
import type { Scenario, ScenarioFile } from './scenario.ts'
import type { Asked, Stage } from './stage.ts'
import { faultsOf } from './judge.ts'
import { expectInStep, lookIntoTransaction } from './looks.ts'
import { within } from './within.ts'

const tenNames = (prefix: string): readonly string[] => Array.from({ length: 10 }, (_, n) => `${prefix}${n}`)

const concurrentUsers: Scenario = {
  name: 'Concurrent users: 10 users with 5 operations each, all at once',
  async run(stage, expect) {
    const people = await stage.converse('crowd', ...tenNames('user'))
    const running = people.flatMap((person) =>
      Array.from({ length: 5 }, (_, n) =>
        stage.call(person, 'send_message', { to: 'crowd', body: `${person.id} ${n}` }),
      ),
    )
    const operations = await Promise.all(running.map(({ ended }) => ended))
    await expectInStep(stage, operations, expect)
    for (const person of people) {
      await person.heard.until((heard) => heard.length >= 100, `the events of ${person.id}`)
      const own = person.heard.items.filter(({ channel }) => channel === 'conversation:crowd')
      expect(own.length === 100, `${person.id} heard ${own.length} events of 100`)
    }
  },
}

const raceConditions: Scenario = {
  name: 'Race condition reproduction: a late committer, one call twice, ten writers of one row',
  async run(stage, expect) {
    const people = await stage.converse('race', ...tenNames('racer'))
    const [first, second] = people as [Person, Person]
    const { ended, release } = await lookIntoTransaction(
      stage,
      { person: first, to: 'race', body: 'late committer' },
      expect,
    )
    const early = await stage.call(second, 'send_message', { to: 'race', body: 'early committer' }).ended
    release()
    const late = await ended
    const order = stage.witness.sightings.filter(({ type }) => type === 'message.created')
    const place = ({ operationId }: Asked): number =>
      order.findIndex((one) => one.operationId === operationId)
    await stage.verdicts([late, early])
    expect(place(early) < place(late), 'what committed first was seen last')

    const id = newOperationId()
    const input = { to: 'race', body: 'sent twice' }
    const once = stage.call(first, 'send_message', input, id)
    const [outcome, again] = await Promise.all([once.ended, first.tab.rpc('send_message', { id, input })])
    const { outcome: repeated } = again.data as { outcome: string }
    expect(repeated === outcome.outcome, `one call sent twice: ${outcome.outcome} and ${repeated}`)

    const running = people.map((person) =>
      stage.call(person, 'send_message', { to: 'race', body: person.id }),
    )
    const operations = [late, early, outcome, ...(await Promise.all(running.map((one) => one.ended)))]
    await expectInStep(stage, operations, expect)
    const [row] = await stage.rows<{ messages: number; rows: number }>(
      `select c.messages, (select count(*)::int from messages where conversation = 'race') as rows
       from conversations c where c.id = 'race'`,
    )
    expect(
      row?.messages === operations.length && row.rows === operations.length,
      `${operations.length} operations left ${row?.rows} messages and a count of ${row?.messages}`,
    )
  },
}

const userContextIsolation: Scenario = {
  name: 'User context isolation: 10 users in their transactions at once, and nothing of one reaches another',
  async run(stage, expect) {
    const names = tenNames('private')
    const people = await Promise.all(names.map((name) => stage.person(name)))
    const home = ({ id }: Person): string => `private-${id}`
    await Promise.all(people.map((person) => stage.witness.follow(`conversation:${home(person)}`)))
    await Promise.all(people.map((person) => person.join(home(person))))
    const bodyOf = ({ id }: Person): string => `mark-${id}-kram`
    const holds = people.map((person) => stage.slowStep.hold(bodyOf(person)))
    const running = people.map((person) =>
      stage.call(person, 'send_message', { to: home(person), body: bodyOf(person) }),
    )
    // Waits until all ten operations are in the middle of their transactions at the same time.
    await Promise.all(holds.map(({ reached }) => reached))
    for (const { release } of holds) release()
    const operations = await Promise.all(running.map(({ ended }) => ended))
    for (const { result, user } of operations) {
      const { seenUser, author } = result as { seenUser: string; author: string }
      expect(seenUser === user && author === user, `${user} acted as ${seenUser}`)
    }
    const failing = people.map((person) =>
      stage.call(person, 'send_message', { to: home(person), body: bodyOf(person), trouble: 'throws' }),
    )
    operations.push(...(await Promise.all(failing.map(({ ended }) => ended))))
    await pry(stage, people, expect)
    await expectInStep(stage, operations, expect)
    for (const { id, frames } of people) {
      const marks = [...frames.join('\n').matchAll(/mark-(\w+)-kram/g)].map((match) => match[1])
      expect(marks.includes(id), `${id} did not receive even their own message`)
      expect(
        marks.every((mark) => mark === id),
        `${id} received what belongs to another user`,
      )
    }
  },
}

/** Resolves to whether a request was refused as not allowed: an error of another kind would prove nothing. */
async function isForbidden(asking: Promise<unknown>): Promise<boolean> {
  try {
    await asking
    return false
  } catch (error) {
    const { code } = error as { code?: unknown }
    return code === replyCodes.permissionDenied || code === replyCodes.forbidden
  }
}

/** @throws the server's reason, with its code */
async function follow(tab: Centrifuge, channel: string): Promise<void> {
  const subscription = tab.newSubscription(channel)
  const ended = new Promise<void>((resolve, reject) => {
    subscription.once('subscribed', () => resolve())
    subscription.once('unsubscribed', ({ code, reason }) =>
      reject(Object.assign(new Error(reason), { code })),
    )
  })
  subscription.subscribe()
  await within(ended, `an answer about ${channel}`)
}

/** Lets each person ask for what belongs to the next person. */
async function pry(
  stage: Stage,
  people: readonly Person[],
  expect: (holds: boolean, finding: string) => void,
): Promise<void> {
  for (const [n, person] of people.entries()) {
    const other = people[(n + 1) % people.length] as Person
    const theirs = stage.asked.find(({ user }) => user === other.id)?.operationId ?? ''
    const { tab, id } = person
    expect(
      await isForbidden(person.join(`private-${other.id}`)),
      `${id} joined the conversation of ${other.id}`,
    )
    expect(await isForbidden(follow(tab, `user:${other.id}`)), `${id} joined the user channel of ${other.id}`)
    // An id belongs to its user: to anybody else it is one that was never heard of.
    const { data } = await tab.rpc('lockstep.outcomes', { ids: [theirs] })
    const [answer] = (data as { readonly outcomes: readonly OutcomeAnswer[] }).outcomes
    expect(answer?.outcome === 'never_received', `${id} was answered about an operation of ${other.id}`)
    const input = { to: `private-${other.id}`, body: 'intruding' }
    const writing = tab.rpc('send_message', { id: newOperationId(), input })
    expect(await isForbidden(writing), `${id} wrote to the conversation of ${other.id}`)
  }
}

const turnsEach = 10

const goldenPath: Scenario = {
  name: 'Golden path: a chat turn from send over commit and event to client and acknowledgement',
  async run(stage, expect) {
    const people = await stage.converse('golden', 'gwen', 'gus', 'gina', 'greg', 'gaby')
    const turns: (readonly [Asked, Asked])[] = []
    const chat = async (person: Person): Promise<void> => {
      for (let n = 0; n < turnsEach; n += 1) {
        const body = `question ${n} of ${person.id}`
        const { ended } = stage.call(person, 'ask_assistant', { to: 'golden', body })
        const turn = await ended
        const answer = `${turn.operationId}-answer`
        // The page acknowledges the messages on its screen, and not the replies to its calls.
        await person.heard.until(
          (heard) => heard.some(({ data }) => (data as { id?: string }).id === answer),
          `the answer to ${person.id}`,
        )
        turns.push([turn, await stage.call(person, 'acknowledge', { to: 'golden', message: answer }).ended])
      }
    }
    await Promise.all(people.map(chat))
    await expectInStep(stage, turns.flat(), expect)
    const verdicts = await stage.verdicts(turns.flat())
    const right = new Set(
      verdicts.flatMap((verdict) =>
        verdict.outcome === 'committed' && faultsOf(verdict).length === 0 ? [verdict.operationId] : [],
      ),
    )
    const good = turns.filter((turn) => turn.every(({ operationId }) => right.has(operationId)))
    Object.assign(stage.goldenPath, { turns: turns.length, good: good.length })
    const [gwen] = people as [Person]
    const stored = (await gwen.client.query('list_messages', { to: 'golden' })) as readonly string[]
    const shown = gwen.heard.items.flatMap(({ type, data, channel }) =>
      type === 'message.created' && channel === 'conversation:golden' ? [(data as { id: string }).id] : [],
    )
    expect(
      stored.toSorted().join() === shown.toSorted().join(),
      `the screen shows ${shown.length} messages, the database holds ${stored.length}`,
    )
  },
}

const databaseAndCache: Scenario = {
  name: 'Database and cache consistency: a cached value is never older than what its reader may rely on',
  waitsFor: 'the room "cache"',
  willShow: [
    'a value read after a commit was heard of is that commit or a newer one',
    'a rollback leaves the cache as it was',
    'the gap commit to cache is measured (cache_db_sync)',
  ],
}

export const multiLayerStateSynchronization: ScenarioFile = {
  file: 'multi-layer-state-synchronization.issue370',
  scenarios: [concurrentUsers, databaseAndCache, goldenPath, raceConditions, userContextIsolation],
}

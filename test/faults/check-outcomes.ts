// Checks of what users were told of their operations: I6, I7, and I9, that no event of a rolled back operation stands.
import type { Notice } from '../../src/protocol/index.ts'
import { groupBy } from './check-log.ts'
import type { Violation } from './checker.ts'
import type { HistoryLine, Told } from './history.ts'
import { noticeType, withdrawnType, type Oracle, type OracleEvent, type OracleOperation } from './oracle.ts'
import { rollbackWords, wordsOf } from './places.ts'

type Line<Kind extends HistoryLine['kind']> = Extract<HistoryLine, { kind: Kind }>

/** Lines of the history about an operation. */
interface Story {
  readonly id: string
  readonly invokes: Line<'invoke'>[]
  readonly replies: Line<'ok' | 'fail'>[]
  readonly outcomes: Line<'outcome'>[]
  readonly notices: Line<'notice'>[]
}

/**
 * Checks each operation's replies and notices.
 * @param earlier databases of the histories that were replaced: an outcome told in one of them was true there
 */
export function checkOutcomes(
  history: readonly HistoryLine[],
  oracle: Oracle,
  earlier: readonly Oracle[] = [],
): readonly Violation[] {
  const events = groupBy(oracle.events, (event) => event.id)
  const logs = [events, ...earlier.map((before) => groupBy(before.events, (event) => event.id))]
  const found: Violation[] = []
  for (const story of stories(history).values()) {
    // An operation that is lost was told its outcome in its own history, and is checked against that.
    const own = logs.find((log) => log.has(story.id))?.get(story.id) ?? []
    found.push(...untold(story), ...toldTwice(story), ...toldWrongly(story, oracle, earlier))
    found.push(...unequal(story), ...ofAnotherInput(story))
    found.push(...misplaced(story, own), ...otherWords(story, oracle, own))
  }
  found.push(...forgotten(history, oracle))
  for (const { id, state, user, unheard } of oracle.operations.values()) {
    const own = events.get(id) ?? []
    const effects = oracle.effects.get(id) ?? 0
    const facts = { operation: id, state, user, effects }
    found.push(...ofSecondPart({ id, state, effects }, oracle, own))
    if (state === 'rolled_back') {
      found.push(...fenced(facts, own), ...noticed({ ...facts, unheard }, own))
    } else if (effects > 1) {
      found.push({ rule: 'I7', what: `one operation took effect ${effects} times`, witness: [facts] })
    } else if (state === 'committed' && effects === 0) {
      found.push({ rule: 'I6', what: 'an operation is committed and left no row', witness: [facts] })
    }
  }
  for (const [id, effects] of oracle.effects) {
    if (oracle.operations.has(id)) continue
    const what = 'a row stands whose operation has no outcome'
    found.push({ rule: 'I6', what, witness: [{ operation: id, effects }] })
  }
  return found
}

/**
 * Finds operations that were accepted, and then treated as if no node had heard of them: their users have no notice.
 */
function forgotten(history: readonly HistoryLine[], oracle: Oracle): readonly Violation[] {
  return history
    .filter((line) => line.kind === 'noted')
    .map((line) => ({ line, operation: oracle.operations.get(line.id) }))
    .filter(({ operation }) => operation === undefined || operation.unheard)
    .map(({ line, operation }) => ({
      rule: 'I6',
      what: 'an operation whose intent stood was forgotten',
      witness: [line, operation ?? 'no such operation'],
    }))
}

function stories(history: readonly HistoryLine[]): ReadonlyMap<string, Story> {
  const all = new Map<string, Story>()
  const storyOf = (id: string): Story => {
    const known = all.get(id)
    if (known !== undefined) return known
    const story: Story = { id, invokes: [], replies: [], outcomes: [], notices: [] }
    all.set(id, story)
    return story
  }
  for (const line of history) {
    if (line.kind === 'invoke') storyOf(line.id).invokes.push(line)
    else if (line.kind === 'ok' || line.kind === 'fail') storyOf(line.id).replies.push(line)
    else if (line.kind === 'outcome') storyOf(line.id).outcomes.push(line)
    else if (line.kind === 'notice') storyOf(line.id).notices.push(line)
  }
  return all
}

/**
 * Finds calls whose client heard no outcome, neither by its callback nor by the refusal of the call. Copies are sent by
 * hand and told by reply only.
 */
function untold({ invokes, replies, outcomes }: Story): readonly Violation[] {
  const asked = invokes.find((line) => line.copy !== true)
  if (asked === undefined || outcomes.some(({ client }) => client === asked.client)) return []
  const refused = replies.some(
    (line) => line.copy !== true && line.kind === 'fail' && line.told === 'refused',
  )
  if (refused) return []
  return [
    { rule: 'I6', what: 'a user was never told what became of an operation', witness: [asked, ...replies] },
  ]
}

/** Finds outcomes and notices that came more than once, also over a reload of the page. */
function toldTwice({ outcomes, notices }: Story): readonly Violation[] {
  const groups = [
    ...groupBy(outcomes, ({ client }) => client).values(),
    ...groupBy(notices, ({ client }) => client).values(),
  ]
  return groups
    .filter((lines) => lines.length > 1)
    .map((lines) => ({ rule: 'I6', what: 'a user was told of one operation twice', witness: lines }))
}

function toldWrongly(story: Story, oracle: Oracle, earlier: readonly Oracle[]): readonly Violation[] {
  const operation = oracle.operations.get(story.id)
  const copied = story.invokes.some((line) => line.copy === true)
  const found = new Map<string, Violation>()
  for (const { line, said } of allTold(story)) {
    // A rollback is reported from memory while the database is away, and a node that dies then never writes it.
    const fromMemory = said === 'rolled_back' && 'transient' in line && line.transient
    const wasTrue = earlier.some(({ operations }) => {
      const before = operations.get(story.id)
      return before !== undefined && isTrue(said, before, copied)
    })
    if (wasTrue || isTrue(said, operation, copied) || (fromMemory && operation === undefined)) continue
    // A node cannot know then, either, that a copy has overtaken the call that was sent first.
    const known = fromMemory && copied
    const when = known ? ', while the database was away, of a call that was sent more than once,' : ''
    const what = `a user was told "${said}"${when} and the database says "${operation?.state ?? 'unknown'}"`
    const witness = [line, operation ?? 'no such operation']
    if (!found.has(what)) found.set(what, { rule: 'I6', what, witness, ...(known ? { known } : {}) })
  }
  return [...found.values()]
}

interface TellingLine {
  readonly line: HistoryLine
  readonly said: Told
}

function allTold({ replies, outcomes, notices }: Story): readonly TellingLine[] {
  return [
    ...outcomes.map((line) => ({ line, said: line.told })),
    ...notices.map((line) => ({ line, said: 'rolled_back' as const })),
    ...replies
      .filter((line) => line.kind === 'ok' || line.told !== 'refused' || line.copy !== true)
      .map((line) => ({ line, said: line.kind === 'ok' ? ('committed' as const) : line.told })),
  ]
}

function isTrue(told: Told, operation: OracleOperation | undefined, copied: boolean): boolean {
  if (told === 'committed') return operation?.state === 'committed'
  // A call that was refused says nothing of its copies.
  if (told === 'refused') return operation?.state !== 'committed' || copied
  return operation?.state === 'rolled_back'
}

/**
 * Compares the replies to a call and its copies; a notice that could not be made durable yet may differ from the
 * durable one.
 */
function unequal({ replies }: Story): readonly Violation[] {
  const texts = new Map<string, Line<'ok' | 'fail'>>()
  for (const line of replies) {
    if (line.kind === 'fail' && (line.transient === true || line.told !== 'rolled_back')) continue
    if (line.reply !== undefined && !texts.has(line.reply)) texts.set(line.reply, line)
  }
  if (texts.size < 2) return []
  return [{ rule: 'I7', what: 'copies of one operation got different replies', witness: [...texts.values()] }]
}

/** A copy names the input it was sent with; the answer to a question for an outcome is compared with no input. */
function ofAnotherInput({ invokes, replies }: Story): readonly Violation[] {
  return replies.flatMap((line): readonly Violation[] => {
    const sends = invokes.filter(({ client, copy }) => copy === true && client === line.client)
    if (line.kind !== 'ok' || line.copy !== true || sends.length === 0) return []
    if (sends.some(({ note }) => note === line.note)) return []
    const what = 'a call was answered with the outcome of another input'
    return [{ rule: 'I7', what, witness: [...sends, line] }]
  })
}

/**
 * Checks the positions of replies: a client that reads on from them must miss no event of the operation, and get none
 * again.
 */
function misplaced({ replies }: Story, events: readonly OracleEvent[]): readonly Violation[] {
  const last = new Map<string, number>()
  for (const { channel, offset } of events) last.set(channel, Math.max(offset, last.get(channel) ?? 0))
  return replies.flatMap((line): readonly Violation[] => {
    if (line.kind !== 'ok') return []
    const said = Object.entries(line.positions)
    if (said.length === last.size && said.every(([channel, offset]) => last.get(channel) === offset))
      return []
    const what = 'the positions of a reply are not where its events stand'
    return [{ rule: 'I4', what, witness: [line, ...events] }]
  })
}

const declaredWords = wordsOf(rollbackWords)

/** Checks the words of notices; undeclared are only those for operations that no node had heard of. */
function otherWords(
  { id, replies, notices }: Story,
  oracle: Oracle,
  events: readonly OracleEvent[],
): readonly Violation[] {
  if (oracle.operations.get(id)?.unheard === true) return []
  const told: readonly HistoryLine[] = [...replies, ...notices]
  const wrong: unknown[] = told.filter((line) => 'words' in line && line.words !== declaredWords)
  for (const event of events) {
    const isOther = event.type === noticeType && wordsOf(JSON.parse(event.data) as Notice) !== declaredWords
    if (isOther) wrong.push(event)
  }
  if (wrong.length === 0) return []
  const what = 'a rollback was told in other words than its operation has declared'
  return [{ rule: 'I6', what, witness: wrong.slice(0, 1) }]
}

function fenced(facts: { readonly effects: number }, events: readonly OracleEvent[]): readonly Violation[] {
  const emitted = events.filter(({ type }) => type !== noticeType && type !== withdrawnType)
  if (facts.effects === 0 && emitted.length === 0) return []
  const what = 'an operation is rolled back, and what it wrote stands'
  return [{ rule: 'I9', what, witness: [facts, ...emitted] }]
}

type OperationFacts = Pick<OracleOperation, 'id' | 'state'> & { readonly effects: number }

/**
 * Checks that rows of the second part stand with those of the work, and that promises are withdrawn with a rollback,
 * once.
 */
function ofSecondPart(
  { id, state, effects }: OperationFacts,
  oracle: Oracle,
  events: readonly OracleEvent[],
): readonly Violation[] {
  const found: Violation[] = []
  const receipts = oracle.receipts.get(id) ?? 0
  if (receipts !== effects) {
    const what = `an operation left ${effects} rows of its work and ${receipts} of its second part`
    found.push({ rule: 'I7', what, witness: [{ operation: id, state }] })
  }
  const channel = oracle.promises.get(id)
  const withdrawn = events.filter(({ type }) => type === withdrawnType)
  const expected = state === 'rolled_back' && channel !== undefined ? 1 : 0
  if (withdrawn.length !== expected || withdrawn.some((event) => event.channel !== channel)) {
    const what = `what an operation had left outside was withdrawn ${withdrawn.length} times instead of ${expected}`
    found.push({ rule: 'I6', what, witness: [{ operation: id, state, channel }, ...withdrawn] })
  }
  return found
}

function noticed(
  facts: { readonly user: string; readonly unheard: boolean },
  events: readonly OracleEvent[],
): readonly Violation[] {
  const notices = events.filter((event) => event.type === noticeType)
  const own = notices.filter((event) => event.channel === `user:${facts.user}`)
  const expected = facts.unheard ? 0 : 1
  if (notices.length === expected && own.length === expected) return []
  const what = `a rolled back operation has ${notices.length} durable notices instead of ${expected}`
  return [{ rule: 'I6', what, witness: [facts, ...notices] }]
}

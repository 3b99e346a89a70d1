// The modelled Postgres: it knows each statement of Lockstep by the text that the room `postgres` makes for it.
import { LockstepError, type Statement, type Statements } from '../../../src/core/index.ts'
import type { Host, Scheduler } from '../scheduler.ts'
import type { Verdict } from '../verdict.ts'
import { Locks } from './locks.ts'
import type { WithdrawnEvent } from '../../../src/postgres/index.ts'
import {
  emptyState,
  keyOf,
  type ModelEvent,
  type ModelOperation,
  type ModelRollbackEvent,
  type ModelState,
} from './state.ts'
import { assertNewStep, beginRun, enterStep, flushTexts, gateOf, keepStep } from './runs.ts'
import { createStatements, type Handler } from './statements.ts'

export type Rows = readonly Record<string, unknown>[]

export interface NewEvent {
  readonly channel: string
  readonly operationId: string
  readonly type: string
  readonly data: string
}

/** A transaction that has flushed: its locks are held and its rows are seen by nobody until it commits. */
interface Flight {
  readonly keys: readonly string[]
  readonly generation: number
}

export class ModelServer {
  readonly scheduler: Scheduler
  readonly verdict: Verdict
  readonly locks: Locks
  state: ModelState = emptyState()
  /** Generation of the server: connections to an earlier one are broken. */
  generation = 1
  isDown = false
  /** Processes by the leases that they have taken. */
  readonly owners = new Map<string, Host>()
  /** Outcomes that a failover has lost, and that no node can know any more. */
  readonly lost = new Set<string>()
  /** Events of each epoch, kept for as long as the simulation runs. */
  readonly #journal = new Map<string, Map<string, string>>()
  /** Told of each step of a run, at the moment in which it commits. */
  onStep: (run: string, name: string, operation: string) => void = () => {}
  readonly #handlers: ReadonlyMap<string, Handler>

  constructor(scheduler: Scheduler, verdict: Verdict) {
    this.scheduler = scheduler
    this.verdict = verdict
    this.locks = new Locks(scheduler)
    this.#handlers = createStatements(this)
  }

  /** Carries a statement out as it arrives. @throws errors of the catalogue */
  async carryOut({ text, values = [] }: Statement, from: Host): Promise<Rows> {
    const handler = this.#handlers.get(text)
    if (handler === undefined) throw new Error(`the modelled database does not know this statement: ${text}`)
    return await handler(values, from)
  }

  isDead(lease: string): boolean {
    const known = this.state.leases.get(lease)
    return known === undefined || known.untilMs < this.scheduler.nowMs
  }

  outcomeOf(id: string, userId: string): ModelOperation | undefined {
    return this.state.operations.get(keyOf(id, userId))
  }

  /** Operation of the event at this offset, in the history with this epoch. */
  eventAt(epoch: string, channel: string, offset: number): string | undefined {
    return this.#journal.get(epoch)?.get(`${channel} ${offset}`)
  }

  /** Events that the log still has. */
  readable(channel: string): readonly ModelEvent[] {
    const from = this.state.trimmed.get(channel) ?? 0
    return (this.state.events.get(channel) ?? []).filter(({ offset }) => offset > from)
  }

  headOf(channel: string): number {
    return this.state.heads.get(channel) ?? 0
  }

  /**
   * Appends events behind the heads of their channels, which their writer has locked.
   * @returns the offsets of the events
   */
  append(events: readonly NewEvent[]): readonly number[] {
    const { heads, events: log, epoch, isOther } = this.state
    if (isOther)
      this.verdict.broken('history', 'events are written while the server has the epoch of another')
    return events.map(({ channel, ...event }) => {
      const offset = this.headOf(channel) + 1
      heads.set(channel, offset)
      const list = log.get(channel) ?? []
      list.push({ ...event, offset, atMs: this.scheduler.nowMs })
      log.set(channel, list)
      this.#journalOf(epoch).set(`${channel} ${offset}`, event.operationId)
      return offset
    })
  }

  /** Appends the rollback events of an operation, of each key one, and removes them. */
  withdraw(id: string, userId: string): readonly WithdrawnEvent[] | null {
    const { rollbackEvents } = this.state
    const places = [...rollbackEvents.keys()].filter((place) => place.startsWith(`${keyOf(id, userId)} `))
    const byKey = new Map<string, ModelRollbackEvent>()
    for (const place of places) {
      const event = rollbackEvents.get(place)
      if (event !== undefined) byKey.set(place.slice(0, place.lastIndexOf(' ')), event)
      rollbackEvents.delete(place)
    }
    const events = [...byKey.values()]
    const offsets = this.append(events.map((event) => ({ ...event, operationId: id })))
    return events.length === 0
      ? null
      : events.map((event, index) => ({ ...event, offset: offsets[index] ?? 0 }))
  }

  store(operation: ModelOperation): void {
    this.state.operations.set(keyOf(operation.id, operation.userId), operation)
  }

  /** Begins a new history, which is served from now on. */
  renew(expected: unknown, next: string): string {
    const { state } = this
    if (expected !== null && state.epoch !== expected) return state.epoch
    state.pastEpochs.push(state.epoch)
    state.epoch = next
    state.isOther = false
    const journal = this.#journalOf(next)
    for (const [channel, list] of state.events)
      for (const { offset, operationId } of list) journal.set(`${channel} ${offset}`, operationId)
    this.scheduler.note('database', `begins ${this.scheduler.nameOf('epoch', next)}`)
    return next
  }

  /** Copies the stored state, as a replica has it that receives nothing more. */
  snapshot(): ModelState {
    return structuredClone(this.state)
  }

  /**
   * Puts the replica in the server's place: everything that it had not received is gone, and all connections are
   * broken.
   */
  promote(replica: ModelState): void {
    for (const [key] of this.state.operations) if (!replica.operations.has(key)) this.lost.add(key)
    this.state = replica
    this.state.isOther = true
    this.generation += 1
    this.locks.clear()
    this.scheduler.note('database', 'fails over to a replica that lags')
  }

  /**
   * Flushes and commits a transaction; what comes behind the flush drops rollback events. The flush takes its locks, `commitMs` later everyone sees it.
   * @throws LS_OPERATION_FENCED for an operation with an outcome; resolves to nothing when the server is gone meanwhile
   */
  async commit(statements: Statements, from: Host, commitMs: number): Promise<Rows[] | undefined> {
    const of = (text: string): readonly Statement[] =>
      statements.filter((statement) => statement.text === text)
    const [fences, begun, steps] = [of(flushTexts.enter), of(flushTexts.run), of(flushTexts.step)]
    const ofRuns = new Set([...fences, ...begun, ...steps])
    const [flush, ...others] = statements.filter((statement) => !ofRuns.has(statement))
    if (flush === undefined) throw new Error('a transaction commits without its outcome')
    const flushed = readFlush(flush)
    const { operation, events } = flushed
    const channels = [...new Set(events.map(({ channel }) => channel))]
    const flight: Flight = {
      keys: [
        ...fences.map(({ values = [] }) => gateOf(String(values[0]))),
        ...channels.map((channel) => `head ${channel}`),
        keyOf(operation.id, operation.userId),
      ],
      generation: this.generation,
    }
    if (!(await this.locks.take(flight.keys))) return undefined
    if (this.outcomeOf(operation.id, operation.userId) !== undefined) {
      this.locks.release(flight.keys)
      throw new LockstepError('LS_OPERATION_FENCED')
    }
    try {
      for (const { values = [] } of fences) enterStep(this, values)
      for (const { values = [] } of steps) assertNewStep(this, values)
    } catch (error) {
      this.locks.release(flight.keys)
      throw error
    }
    await this.scheduler.pause(commitMs)
    if (flight.generation !== this.generation) return undefined
    // A step has no intent: its run says that something was begun.
    if (steps.length === 0) this.#assertIntent(operation, from)
    for (const { values = [] } of steps) keepStep(this, values)
    for (const { values = [] } of begun) beginRun(this, values)
    const offsets = this.append(events)
    if (others.length > 0) this.#forgetRollbackEvents(keyOf(operation.id, operation.userId))
    const positions: Record<string, number> = {}
    events.forEach(({ channel }, index) => (positions[channel] = offsets[index] ?? 0))
    this.store({ ...operation, positions })
    this.locks.release(flight.keys)
    const at = this.scheduler.clock.now()
    this.scheduler.note('database', `commits ${operation.name} ${JSON.stringify(positions)} of ${from.name}`)
    const [only] = channels
    const isOne = events.length === 1 && only !== undefined
    const row = { flushed: isOne ? `${positions[only]} ${at}` : JSON.stringify({ positions, at }) }
    return statements.map((statement) => (statement === flush ? [row] : []))
  }

  #forgetRollbackEvents(operation: string): void {
    for (const [place, event] of this.state.rollbackEvents)
      if (event.operation === operation) this.state.rollbackEvents.delete(place)
  }

  #assertIntent({ id, userId, node, name }: ModelOperation, from: Host): void {
    const isNoted = [...this.state.intents.values()].some(
      (slot) => slot.node === node && slot.operations.some((one) => one.id === id && one.userId === userId),
    )
    if (!isNoted) this.verdict.broken('fence', `${name} of ${from.name} commits, and no intent tells of it`)
  }

  #journalOf(epoch: string): Map<string, string> {
    let journal = this.#journal.get(epoch)
    if (journal === undefined) this.#journal.set(epoch, (journal = new Map()))
    return journal
  }
}

function readFlush({ values = [] }: Statement): {
  readonly operation: ModelOperation
  readonly events: readonly NewEvent[]
} {
  const [id, name, userId, node, inputHash, result, ...rest] = values as readonly string[]
  const operation = {
    id: id ?? '',
    name: name ?? '',
    userId: userId ?? '',
    node: node ?? null,
    inputHash: inputHash ?? '',
    state: 'committed',
    result: result ?? null,
    notice: null,
    positions: null,
  } as const
  if (rest.length === 3) {
    const [channel = '', type = '', data = ''] = rest
    return { operation, events: [{ channel, operationId: operation.id, type, data }] }
  }
  const [channels, , places, , types, texts] = rest as unknown as readonly (readonly (string | number)[])[]
  const events = (places ?? []).map((place, index) => ({
    channel: String(channels?.[Number(place) - 1]),
    operationId: operation.id,
    type: String(types?.[index]),
    data: String(texts?.[index]),
  }))
  return { operation, events }
}

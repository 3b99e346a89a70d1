import { coordinationEvents, type OutcomeAnswer } from '../../src/protocol/index.ts'
import {
  defineChannel,
  isLockstepError,
  userChannel,
  whenSettled,
  type ErrorCode,
} from '../../src/core/index.ts'
import { handleIn, type Transaction } from '../../src/transaction/index.ts'
import type { ModelDb } from './model/database.ts'
import { keyOf } from './model/state.ts'
import type { SimulatedNode } from './node.ts'
import { shownPart, withdrawnType } from './shown-part.ts'
import type { World } from './world.ts'

const anySchema = {
  '~standard': { version: 1, vendor: 'simulation', validate: (value: unknown) => ({ value }) },
} as const
const room = defineChannel<'room:{id}', { readonly counted: typeof anySchema }, false>('room:{id}', {
  events: { counted: anySchema },
  canSubscribe: () => true,
})
export const rooms = [1, 2, 3].map((id) => room({ id: String(id) }))
export const users = ['ada', 'bob', 'cyd']

/** Operation as its caller knows it. */
interface Call {
  readonly id: string
  readonly name: string
  readonly userId: string
  readonly work: (tx: Transaction<ModelDb>, node: SimulatedNode) => Promise<unknown>
  /** Events of the work that stand if it commits. */
  readonly emits: number
  /** Channels on which something of it was shown before the COMMIT, in the server's present generation. */
  readonly shown: Map<string, number>
  copies: number
  readonly answers: string[]
  /** A rollback was told that the database did not know of yet. */
  wasToldFromMemory: boolean
  isTold: boolean
}

/** Answers that mean that the call was not accepted. */
const refusals: ReadonlySet<ErrorCode> = new Set([
  'LS_NODE_STARTING',
  'LS_NODE_STOPPING',
  'LS_NODE_FENCED',
  'LS_NODE_OVERLOADED',
])

/** Callers of a simulation, and the outcomes that they were told. */
export class Calls {
  readonly #world: World
  /** Calls by id and user. */
  readonly #calls = new Map<string, Call>()

  constructor(world: World) {
    this.#world = world
  }

  get areTold(): boolean {
    return [...this.#calls.values()].every(({ isTold }) => isTold)
  }

  /** Begins a call of a user, and perhaps a copy of it from another device. */
  begin(): void {
    const { random, scheduler } = this.#world
    const userId = random.pick(users)
    const id = this.#idFor(userId)
    const name = `work-${this.#calls.size + 1}`
    const call: Call = {
      id,
      name,
      userId,
      ...this.#work(keyOf(id, userId)),
      shown: new Map(),
      copies: 1,
      answers: [],
      isTold: false,
      wasToldFromMemory: false,
    }
    this.#calls.set(keyOf(id, userId), call)
    this.#send(call, false)
    if (!random.chance(0.15)) return
    call.copies += 1
    scheduler.after(random.between(0, 2_000), () => this.#send(call, true))
  }

  /** Notes that something was shown of an open operation. @param data its key, and the generation of the server before it was noted */
  shown(data: string, channel: string): void {
    const { key, generation } = JSON.parse(data) as { readonly key: string; readonly generation: number }
    this.#calls.get(key)?.shown.set(channel, generation)
  }

  /** A rollback was shown that is in no log. */
  toldFromMemory(id: string, userId: string): void {
    const call = this.#calls.get(keyOf(id, userId))
    if (call !== undefined) call.wasToldFromMemory = true
  }

  /** Checks the outcomes that callers were told against the rows that stand. */
  check(): void {
    const { server, verdict } = this.#world
    for (const call of this.#calls.values()) {
      const { id, name, userId, answers, copies, isTold, wasToldFromMemory } = call
      const row = server.outcomeOf(id, userId)
      if (!isTold) verdict.broken('quiet', `the caller of ${name} does not know how it ended`)
      // A failover may have taken back the outcome that was told.
      if (server.lost.has(keyOf(id, userId))) continue
      const isCommitted = row?.state === 'committed'
      this.#checkEvents(call, isCommitted)
      const told = [...answers]
      // A call that its own copy has overtaken may be reported from memory: docs/reference/fault-lanes.md, known limits.
      if (wasToldFromMemory && copies === 1) told.push('rolled_back')
      for (const answer of told) {
        if ((answer === 'committed') !== isCommitted)
          verdict.broken('outcome', `${name} is told ${answer}, and stands as ${row?.state ?? 'nothing'}`)
      }
      const channel = userChannel(userId)
      const notices = (server.state.events.get(channel) ?? []).filter(
        (event) => event.operationId === id && event.type === coordinationEvents.transactionRolledBack,
      )
      // An id that was closed before its call came has no notice.
      const wanted = row?.state === 'rolled_back' && row.inputHash !== '' ? 1 : 0
      if (notices.length !== wanted)
        verdict.broken(
          'notice',
          `${name} stands as ${row?.state ?? 'nothing'} with ${notices.length} notices`,
        )
    }
  }

  /** Checks that the events of a commit stand, and that a rollback has taken back what was shown before it, and no more. */
  #checkEvents({ id, name, userId, emits, shown }: Call, isCommitted: boolean): void {
    const { server, verdict } = this.#world
    const own = [...server.state.events].flatMap(([channel, events]) =>
      events.filter(({ operationId }) => operationId === id).map(({ type }) => ({ channel, type })),
    )
    // Another user may have an operation with the same id.
    if ([...this.#calls.values()].filter((other) => other.id === id).length > 1) return
    const counted = own.filter(({ type }) => type === 'counted').length
    if (counted !== (isCommitted ? emits : 0))
      verdict.broken(
        'effect',
        `${name} of ${userId} has ${counted} events instead of ${isCommitted ? emits : 0}`,
      )
    const withdrawn = own.filter(({ type }) => type === withdrawnType).map(({ channel }) => channel)
    if (isCommitted ? withdrawn.length > 0 : new Set(withdrawn).size < withdrawn.length)
      verdict.broken('withdrawal', `${name} has ${withdrawn.length} withdrawals`)
    for (const [channel, generation] of isCommitted ? [] : shown) {
      // A failover may have taken back what was noted.
      if (generation !== server.generation || withdrawn.includes(channel)) continue
      verdict.broken('withdrawal', `${name} was shown on ${channel}, rolled back, and not withdrawn`)
    }
  }

  #work(key: string): Pick<Call, 'work' | 'emits'> {
    const { random, server } = this.#world
    const emits = random.between(0, 3)
    const plan = Array.from({ length: emits }, () => random.pick(rooms))
    const forMs = random.chance(0.1) ? random.between(500, 6_000) : random.between(0, 60)
    const fails = random.chance(0.15)
    const inVain = random.chance(0.2) ? random.pick(rooms) : undefined
    const shows = random.chance(0.3) ? random.pick(rooms).name : undefined
    const work: Call['work'] = async (tx, node) => {
      if (shows !== undefined) {
        const { generation } = server
        await handleIn(tx, shownPart).prepare(shows)
        node.show(shows, tx.operationId, JSON.stringify({ key, generation }))
      }
      if (inVain !== undefined) {
        await tx.db.savepoint('set')
        tx.emit(inVain, 'counted', {})
        await tx.db.savepoint('undo')
      }
      for (const channel of plan) tx.emit(channel, 'counted', {})
      await tx.db.work(forMs)
      if (fails) throw new Error('the work fails')
      return { emits }
    }
    return { work, emits }
  }

  #send(call: Call, isRepeated: boolean): void {
    const { scheduler, random } = this.#world
    const node = this.#world.pickNode()
    if (node === undefined) return void scheduler.after(200, () => this.#send(call, isRepeated))
    scheduler.note('caller', `${call.name} goes to ${node.host.name}`)
    const inquire = (): void => {
      if (!call.isTold) this.#inquire(call)
    }
    // The weather loses some replies, and some callers do not wait for long.
    const isLost = this.#world.weather.chance(0.05)
    if (random.chance(0.3)) scheduler.after(4_000, inquire)
    this.#world.inside(node, () =>
      whenSettled(
        node.host.alive(this.#run(node, call, isRepeated)),
        ({ outcome }) => {
          if (isLost) return inquire()
          if (outcome.outcome !== 'rolled_back' || outcome.notice.transient !== true)
            return this.#tell(call, outcome.outcome)
          call.wasToldFromMemory = true
          this.#inquire(call)
        },
        (error) => {
          if (isLockstepError(error) && refusals.has(error.code)) {
            scheduler.after(250, () => this.#send(call, true))
            return
          }
          if (isLockstepError(error) && !['LS_OUTCOME_PENDING', 'LS_OPERATION_FENCED'].includes(error.code))
            this.#world.verdict.broken('outcome', `${call.name} is answered ${error.code}`)
          inquire()
        },
      ),
    )
  }

  async #run(node: SimulatedNode, { id, name, userId, work }: Call, repeat: boolean) {
    const { coordinator } = node
    const facts = { id, name, user: { id: userId }, rollback: {}, inputHash: `hash of ${name}`, intent: true }
    const since = coordinator.earliestArrival
    return coordinator.run({ ...facts, work: (tx) => work(tx, node), since, repeat })
  }

  /** Asks until there is an answer, as a client that lost the reply does. */
  #inquire(call: Call): void {
    const { scheduler } = this.#world
    const again = (inMs: number): void =>
      void scheduler.after(inMs, () => {
        if (!call.isTold) this.#inquire(call)
      })
    const node = this.#world.pickNode()
    if (node === undefined) return again(200)
    const { id, userId } = call
    const isOpen = (one: string): boolean => node.coordinator.isOpen({ id: one, userId })
    this.#world.inside(node, () =>
      whenSettled(
        node.host.alive(node.answers.answer({ id: userId }, { ids: [id] }, isOpen)),
        ([answer]: readonly OutcomeAnswer[]) => {
          if (answer === undefined) return again(400)
          if (answer.outcome === 'pending') return again(answer.retryAfterMs ?? 400)
          this.#tell(call, answer.outcome)
        },
        () => again(400),
      ),
    )
  }

  #tell(call: Call, answer: string): void {
    call.answers.push(answer)
    call.isTold = true
    this.#world.counts[answer === 'committed' ? 'committed' : 'notCommitted'] += 1
    this.#world.scheduler.note('caller', `${call.name} is told ${answer}`)
  }

  /** Draws an id: mostly a new one, at times one that another user has, since an id belongs to its user. */
  #idFor(userId: string): string {
    const { random } = this.#world
    const last = [...this.#calls.values()].at(-1)
    if (last === undefined || !random.chance(0.1) || this.#calls.has(keyOf(last.id, userId)))
      return this.#newId()
    return last.id
  }

  /** Makes a UUID of version 7 (RFC 9562), from the numbers of the seed. */
  #newId(): string {
    const { random, scheduler } = this.#world
    const digits = (count: number): string =>
      Array.from({ length: count }, () => random.between(0, 15).toString(16)).join('')
    const at = scheduler.clock.now().toString(16).padStart(12, '0').slice(0, 12)
    return `${at.slice(0, 8)}-${at.slice(8)}-7${digits(3)}-8${digits(3)}-${digits(12)}`
  }
}

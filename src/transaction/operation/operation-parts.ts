import { mutationPoint } from '../../protocol/mutation-point.ts'
import {
  LockstepError,
  type Channel,
  type DraftHandle,
  type Rows,
  type Statement,
  type Statements,
} from '../../core/index.ts'
import type { PendingEvent } from '../../postgres/index.ts'
import { Contributions } from '../parts/contributions.ts'
import { assertOperationSize } from '../parts/event-json.ts'
import { OperationEvents } from './events-part.ts'
import type { Hook } from './hook-runner.ts'
import { lockOrder, type Fence, type Part, type PartScope } from '../parts/part.ts'
import type { OperationRollbackEvents } from '../parts/operation-rollback-events.ts'
import { toPendingEvent } from '../parts/part-event.ts'
import { SavepointMarks } from './savepoint-marks.ts'

interface OpenPart {
  readonly part: Part<unknown>
  readonly handle: unknown
}

/**
 * Contributions of one attempt to the ending of its operation. Nested scopes share them, and savepoints cut them back.
 */
export class OperationParts {
  readonly afterCommit: Contributions<Hook>
  readonly afterRollback: Contributions<Hook>
  readonly events: OperationEvents
  readonly savepoints = new SavepointMarks()
  readonly #open: readonly OpenPart[]
  /** Lists of events and parts, without the hooks, which the ending needs. */
  readonly #lists: Pick<Contributions<unknown>, 'close' | 'clear'>[] = []
  #isClosed = false

  /** @param parts the parts beside the events. @throws what a part's `open` throws */
  constructor(
    operation: Omit<PartScope, 'contributions' | 'appendOnRollback'>,
    parts: readonly Part<unknown>[],
    rollbackEvents: Pick<OperationRollbackEvents, 'add'>,
  ) {
    const contributions: PartScope['contributions'] = <T>(bytesOf?: (item: T) => number) => {
      const made = this.#list(bytesOf)
      this.#lists.push(made)
      return made
    }
    this.afterCommit = this.#list()
    this.afterRollback = this.#list()
    this.events = new OperationEvents({ ...operation, contributions })
    this.#open = parts.map((part) => {
      const appendOnRollback: PartScope['appendOnRollback'] = async (event) => {
        this.#assertOpen()
        await rollbackEvents.add(part.name, event)
        // Refuse an answer that comes late: the event may have been appended by now, and nothing takes back what follows it.
        this.#assertOpen()
      }
      return { part, handle: part.open({ ...operation, contributions, appendOnRollback }) }
    })
  }

  /** The contributions are final: no scope takes more, not even one whose own end was not awaited. */
  get isClosed(): boolean {
    return this.#isClosed
  }

  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    for (const list of this.#lists) list.close()
    for (const { part, handle } of this.#open) part.closed?.(handle)
  }

  /** Opens a draft in the part that has drafts. @throws LS_DRAFT_UNKNOWN, LS_CONFIG_INVALID */
  draft(channel: Channel, name: string): DraftHandle<unknown> {
    for (const { part, handle } of this.#open) {
      const draft = part.draft?.(handle, channel, name)
      if (draft !== undefined) return draft
    }
    throw new LockstepError('LS_CONFIG_INVALID', { message: 'This node has no part for drafts.' })
  }

  /** The handle of a part. @throws LS_CONFIG_INVALID when this node has no such part */
  handleOf<Handle>(part: Part<Handle>): Handle {
    const found = this.#open.find((open) => open.part === part)
    if (found === undefined) {
      throw new LockstepError('LS_CONFIG_INVALID', { message: `This node has no part "${part.name}".` })
    }
    return found.handle as Handle
  }

  /**
   * Events of all parts, in the order of the parts. Asks each part for them.
   * @throws LS_OPERATION_TOO_LARGE, and as `toPendingEvent`
   */
  collectEvents(): readonly PendingEvent[] {
    const own = this.events.appended
    const others = this.#open.flatMap(({ part, handle }) => part.events?.(handle) ?? []).map(toPendingEvent)
    const appended = others.length === 0 ? own : [...own, ...others]
    const closing = this.#open.flatMap(({ part, handle }) => part.closingEvents?.(handle, appended) ?? [])
    if (others.length === 0 && closing.length === 0) return own
    const all = [
      ...closing.flatMap(({ first }) => first.map(toPendingEvent)),
      ...appended,
      ...closing.flatMap(({ last }) => last.map(toPendingEvent)),
    ]
    assertOperationSize({
      events: all.length,
      bytes: all.reduce((bytes, { data }) => bytes + Buffer.byteLength(data), 0),
    })
    return all
  }

  /** Layers that the notice of a rollback names. Asks each part for its own. */
  get layers(): readonly string[] {
    const shown = this.events.hasAny ? ['websocket'] : []
    const others = this.#open.flatMap(({ part, handle }) => part.layers?.(handle) ?? [])
    return [...new Set(['database', ...shown, ...others])]
  }

  /**
   * The statements of the flush, around the one that appends the events and writes the outcome. Asks each part for its own.
   * @param last statements that come behind those of the parts
   */
  collectFlush(outcome: Statement, last: readonly Statement[] = []): Flush {
    if (this.#open.length === 0) return new Flush([outcome], 0, [])
    const fences = inLockOrder(this.#open.flatMap(({ part, handle }) => part.fences?.(handle) ?? []))
    const rows = this.#open.map((open) => ({ open, statements: open.part.rows?.(open.handle) ?? [] }))
    const before = fences.map(({ statement }) => asText(statement))
    const behind = mutationPoint('rows of a part left out')
      ? []
      : rows.flatMap(({ statements }) => statements.map(asText))
    const [first = outcome, ...others] = [...before, outcome, ...behind, ...last]
    return new Flush([first, ...others], fences.length, rows)
  }

  /** Lets go of what no ending needs any more: an operation may stay open for as long as the database is away. */
  forget(): void {
    for (const list of this.#lists) list.clear()
  }

  #assertOpen(): void {
    if (this.#isClosed) throw new LockstepError('LS_TRANSACTION_CLOSED')
  }

  #list<T>(bytesOf?: (item: T) => number): Contributions<T> {
    const made = new Contributions<T>(bytesOf)
    this.savepoints.add(made)
    return made
  }
}

/** Statements that an operation sends in the flight of its COMMIT. */
class Flush {
  readonly statements: Statements
  readonly #outcomeAt: number
  readonly #rows: readonly { readonly open: OpenPart; readonly statements: readonly Statement[] }[]

  constructor(
    statements: Statements,
    outcomeAt: number,
    rows: readonly { readonly open: OpenPart; readonly statements: readonly Statement[] }[],
  ) {
    this.statements = statements
    this.#outcomeAt = outcomeAt
    this.#rows = rows
  }

  /** The row that the statement of events and outcome answered. */
  outcomeRow(answers: readonly Rows<unknown>[]): unknown {
    return answers[this.#outcomeAt]?.rows[0]
  }

  /**
   * Gives each part the answers to its own rows.
   * @param failed told of each part that throws, since the operation has committed all the same
   */
  committed(answers: readonly Rows<unknown>[], failed: (part: string, error: unknown) => void): void {
    let at = this.#outcomeAt + 1
    for (const { open, statements } of this.#rows) {
      const { part, handle } = open
      const own = answers.slice(at, at + statements.length)
      at += statements.length
      try {
        part.committed?.(handle, own)
      } catch (error) {
        failed(part.name, error)
      }
    }
  }
}

export type { Flush }

/** Prepares a statement to be sent as the application's own are: nothing in its values is escaped. */
function asText({ text, values }: Statement): Statement {
  return { text, ...(values === undefined ? {} : { values }), isPlain: true }
}

/** Each key once, so that two operations that name the same ones never wait for each other in a circle. */
function inLockOrder(fences: readonly Fence[]): readonly Fence[] {
  const byPlace = new Map(fences.map((fence) => [`${lockOrder.indexOf(fence.locks)} ${fence.key}`, fence]))
  return [...byPlace.keys()].toSorted().flatMap((place) => byPlace.get(place) ?? [])
}

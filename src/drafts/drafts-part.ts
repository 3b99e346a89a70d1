import { assertDraftName, LockstepError, type Channel, type Statement } from '../core/index.ts'
import { draftEvents, type DraftRetractedData } from '../protocol/index.ts'
import { forgetDrafts, type DraftEntry, type PendingEvent } from '../postgres/index.ts'
import type { ClosingEvents, Contributions, Part, PartEvent, PartScope } from '../transaction/index.ts'
import { WritableDraft } from './draft-handle.ts'
import type { DraftWriter } from './draft-writer.ts'
import type { DraftPlace } from './shown-draft.ts'

/** The step that an operation commits. */
export interface DraftStep {
  readonly run: string
  readonly step: string
  readonly attempt: number
  /** Drafts that its work has shown. */
  readonly places: readonly DraftPlace[]
}

/** Drafts of one attempt at an operation. */
export class DraftsOfOperation {
  readonly scope: PartScope
  /** Drafts that a savepoint has not taken back, by channel and name. */
  readonly standing: Contributions<string>
  readonly opened = new Map<string, DraftPlace>()
  step: DraftStep | undefined
  attempt = 0

  constructor(scope: PartScope) {
    this.scope = scope
    this.standing = scope.contributions()
  }

  get places(): readonly DraftPlace[] {
    return [...(this.step?.places ?? []), ...this.opened.values()]
  }
}

const mostRemembered = 10_000

/** Attempts of this node at one operation that have shown drafts. */
interface ShownBefore {
  readonly number: number
  readonly channels: ReadonlySet<string>
}

/** The part of an operation that shows drafts. */
export class DraftsPart implements Part<DraftsOfOperation> {
  readonly name = 'drafts'
  readonly #schema: string
  readonly #writer: DraftWriter
  /** Attempts at operations that have shown drafts: the next one takes the place of what the last has shown. */
  readonly #attempts = new Map<string, ShownBefore>()

  constructor(schema: string, writer: DraftWriter) {
    this.#schema = schema
    this.#writer = writer
  }

  open(scope: PartScope): DraftsOfOperation {
    return new DraftsOfOperation(scope)
  }

  draft(handle: DraftsOfOperation, channel: Channel, name: string): WritableDraft {
    assertDraftName(channel, name)
    const place = handle.opened.get(channel.name) ?? this.#open(handle, channel)
    handle.standing.add(`${channel.name} ${name}`)
    place.draft(name)
    return new WritableDraft(this.#writer, () => place, name)
  }

  closingEvents(handle: DraftsOfOperation, appended: readonly PendingEvent[]): ClosingEvents {
    const { places, standing, step, scope } = handle
    const left = this.#leftBehind(handle)
    if (places.length === 0 && left.length === 0) return { first: [], last: [] }
    const first: PartEvent[] = left.map((channel) => retracted(channel))
    const last: PartEvent[] = []
    const ended = new Set(scope.mode === 'enforce' ? appended.map(({ channel }) => channel) : [])
    for (const channel of new Set(places.map(({ entry }) => entry.channel))) {
      const here = places.filter(({ entry }) => entry.channel === channel)
      const names = new Set(here.flatMap(({ drafts }) => [...drafts.keys()]))
      const ofWork = step?.places.some(({ entry }) => entry.channel === channel) === true
      const gone = ofWork ? [] : [...names].filter((name) => !standing.items.includes(`${channel} ${name}`))
      if (gone.length === names.size) first.push(retracted(channel))
      else if (gone.length > 0) first.push(retracted(channel, gone))
      if (gone.length < names.size && !ended.has(channel))
        last.push({ channel, type: draftEvents.committed, value: null })
    }
    return { first, last }
  }

  rows(handle: DraftsOfOperation): readonly Statement[] {
    const { places, scope } = handle
    if (places.length === 0 && this.#leftBehind(handle).length === 0) return []
    return forgetDrafts(this.#schema, { id: scope.operationId, userId: scope.user.id })
  }

  layers({ places }: DraftsOfOperation): readonly string[] {
    return places.length === 0 ? [] : ['websocket']
  }

  closed({ opened }: DraftsOfOperation): void {
    for (const place of opened.values()) this.#writer.close(place)
  }

  #open(handle: DraftsOfOperation, channel: Channel): DraftPlace {
    const { scope, step } = handle
    if (step === undefined && scope.intent === undefined) {
      throw new LockstepError('LS_CONFIG_INVALID', {
        message:
          'tx.draft shows something before it has committed, which needs an intent: another node takes it back if this one dies. ' +
          'Declare the operation without `intent: false`.',
      })
    }
    const operation = { id: scope.operationId, userId: scope.user.id, node: scope.node }
    const entry: DraftEntry = {
      operation,
      channel: channel.name,
      run: step && { id: step.run, step: step.step },
      attempt: step?.attempt ?? (handle.attempt = this.#attemptAt(handle, channel.name)),
    }
    const place = this.#writer.open(entry, channel, step === undefined ? scope.intent : undefined)
    handle.opened.set(channel.name, place)
    return place
  }

  /** Channels on which an earlier attempt at the operation has shown drafts, and this one shows none. */
  #leftBehind({ step, scope, places }: DraftsOfOperation): readonly string[] {
    if (step !== undefined || this.#attempts.size === 0) return []
    const before = this.#attempts.get(keyOf(scope))
    if (before === undefined) return []
    return [...before.channels].filter((channel) => !places.some(({ entry }) => entry.channel === channel))
  }

  #attemptAt({ scope, attempt }: DraftsOfOperation, channel: string): number {
    const key = keyOf(scope)
    const before = this.#attempts.get(key)
    const number = attempt > 0 ? attempt : (before?.number ?? 0) + 1
    this.#attempts.delete(key)
    this.#attempts.set(key, { number, channels: new Set([...(before?.channels ?? []), channel]) })
    const [oldest] = this.#attempts.keys()
    if (this.#attempts.size > mostRemembered && oldest !== undefined) this.#attempts.delete(oldest)
    return number
  }
}

function keyOf({ operationId, user }: PartScope): string {
  return `${operationId} ${user.id}`
}

function retracted(channel: string, names?: readonly string[]): PartEvent {
  const value: DraftRetractedData | null = names === undefined ? null : { names }
  return { channel, type: draftEvents.retracted, value }
}

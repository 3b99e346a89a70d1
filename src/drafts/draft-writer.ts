import { mutationPoint } from '../protocol/mutation-point.ts'
import { faultPoint } from '../core/fault-point.ts'
import { draftEvents, limits } from '../protocol/index.ts'
import {
  isLockstepError,
  LockstepError,
  messageOf,
  Repeat,
  whenSettled,
  type Channel,
  type Clock,
  type Logger,
  type Queryable,
} from '../core/index.ts'
import {
  forgetRetractions,
  openDrafts,
  saveChunks,
  type DraftEntry,
  type OpenedDraftRow,
} from '../postgres/index.ts'
import { DraftPlace } from './shown-draft.ts'

/** A push to a channel, without an offset. */
export interface ChunkPush {
  readonly channel: string
  readonly type: string
  readonly operationId: string
  /** JSON text of a `DraftPush`, without its type. */
  readonly data: string
  readonly at: Date
}

export interface DraftWriterOptions {
  readonly own: Queryable
  readonly schema: string
  readonly clock: Clock
  readonly logger: Logger
  readonly push: (push: ChunkPush) => void
  /** Whether the lease of this node holds: else another node may have taken its work. */
  readonly mayShow: () => boolean
}

const pushEveryMs = 40
const saveEveryMs = 200
const busyRetryMs = 25
/** Bytes of chunks in one push, about: a message of the bus over Postgres has 8,000. */
const mostInPush = 4_000
const mostInBatch = 100

/**
 * Shows the drafts of a node. A row for each operation and channel comes first, in batches; then chunks leave in pushes of
 * 40 ms, and are kept in batches of 200 ms.
 */
export class DraftWriter {
  readonly #options: DraftWriterOptions
  readonly #places = new Set<DraftPlace>()
  readonly #opening: Repeat
  readonly #pushing: Repeat
  readonly #saving: Repeat
  /** Server sessions that have kept chunks. */
  readonly #sessions = new Set<string>()

  constructor(options: DraftWriterOptions) {
    this.#options = options
    const { clock, logger } = options
    const onError = (error: unknown): void => {
      logger.warn({ error: messageOf(error) }, 'drafts were not written this time')
    }
    this.#opening = new Repeat({ clock, everyMs: busyRetryMs, work: () => this.#open(), onError })
    this.#pushing = new Repeat({ clock, everyMs: pushEveryMs, work: () => this.#pushAll(), onError })
    this.#saving = new Repeat({ clock, everyMs: saveEveryMs, work: () => this.#save(), onError })
  }

  /** Drafts of operations that are open on this node. */
  get openCount(): number {
    return this.#places.size
  }

  /** @param intent has to stand before the row; absent where the run of the operation says that it has begun */
  open(entry: DraftEntry, channel: Channel, intent?: Promise<boolean>): DraftPlace {
    const place = new DraftPlace(entry, channel)
    if (intent === undefined) this.#add(place)
    else
      whenSettled(
        intent,
        (isNew) => {
          if (isNew) this.#add(place)
        },
        () => {},
      )
    return place
  }

  /** @throws LS_DRAFT_TOO_LARGE, LS_DRAFT_INVALID, LS_DRAFTS_TOO_MANY, LS_TRANSACTION_CLOSED */
  append(place: DraftPlace, name: string, value: unknown): void {
    if (place.state === 'closed') throw new LockstepError('LS_TRANSACTION_CLOSED')
    if (isLockstepError(place.refusal, 'LS_DRAFTS_TOO_MANY')) throw place.refusal
    place.draft(name).add(value)
    this.#pushing.start()
    this.#saving.start()
  }

  /** Shows what is left, and nothing more. */
  close(place: DraftPlace): void {
    if (place.state === 'closed') return
    if (place.state === 'open') this.#push(place)
    place.state = 'closed'
    this.#places.delete(place)
  }

  async end(): Promise<void> {
    await Promise.all([this.#opening.close(), this.#pushing.close(), this.#saving.close()])
  }

  #add(place: DraftPlace): void {
    if (place.state !== 'waiting') return
    this.#places.add(place)
    this.#opening.start(0)
  }

  /** Writes the rows of those that wait. @returns whether any still does */
  async #open(): Promise<boolean> {
    const { own, schema } = this.#options
    const waiting = [...this.#places].filter(({ state }) => state === 'waiting').slice(0, mostInBatch)
    if (waiting.length === 0) return false
    await faultPoint('drafts.before-open')
    const statement = openDrafts(
      schema,
      waiting.map(({ entry }) => entry),
      limits.maxDraftsPerChannel,
    )
    if (mutationPoint('chunk shown before its row')) {
      for (const place of waiting) if (place.state === 'waiting') place.state = 'open'
    }
    const { rows } = await own.query<OpenedDraftRow>(statement)
    await faultPoint('drafts.after-open')
    if (mutationPoint('retraction left out')) await own.query(forgetRetractions(schema))
    waiting.forEach((place, index) => this.#opened(place, rows[index]))
    return [...this.#places].some(({ state }) => state === 'waiting')
  }

  #opened(place: DraftPlace, row: OpenedDraftRow | undefined): void {
    if (place.state !== 'waiting' || row === undefined || row.answer === 'busy') return
    if (row.answer === 'written') {
      place.state = 'open'
      place.after = row.after
      this.#pushing.start(0)
      return
    }
    place.state = 'refused'
    place.refusal = row.answer === 'full' ? tooMany(place) : new LockstepError('LS_OPERATION_FENCED')
    if (row.answer === 'full')
      this.#options.logger.warn({ channel: place.channel.name }, place.refusal.message)
  }

  /** @returns whether anything is left to show */
  #pushAll(): boolean {
    for (const place of this.#places) if (place.state === 'open') this.#push(place)
    return [...this.#places].some(
      ({ state, drafts }) => state === 'open' && [...drafts.values()].some(({ hasUnshown }) => hasUnshown),
    )
  }

  #push(place: DraftPlace): void {
    const { push, mayShow, clock } = this.#options
    if (!mayShow()) return
    void faultPoint('drafts.before-push')
    const { entry, channel, after } = place
    for (const draft of place.drafts.values()) {
      while (draft.hasUnshown) {
        const { from, chunks } = draft.takeUnshown(mostInPush)
        const shown = {
          operation: entry.operation.id,
          name: draft.name,
          attempt: entry.attempt,
          from,
          after: mutationPoint('chunks shown before the events they follow') ? 0 : after,
        }
        const runId = JSON.stringify(entry.run?.id ?? null)
        push({
          channel: channel.name,
          type: draftEvents.push,
          operationId: entry.operation.id,
          data: `{"draft":${JSON.stringify(shown)},"runId":${runId},"chunks":[${chunks.join(',')}]}`,
          at: new Date(clock.now()),
        })
      }
    }
  }

  /** @returns whether anything is left to be kept */
  async #save(): Promise<boolean> {
    const { own, schema } = this.#options
    const open = [...this.#places].filter(({ state }) => state === 'open')
    const batches = open.flatMap((place) => place.takeUnsaved())
    if (batches.length > 0) {
      try {
        await faultPoint('drafts.before-save')
        const { rows } = await own.query<{ readonly session: string }>(saveChunks(schema, batches))
        this.#heardOf(rows[0]?.session)
      } catch (error) {
        this.#saveAgain()
        throw error
      }
    }
    return [...this.#places].some(
      ({ state, drafts }) => state !== 'closed' && [...drafts.values()].some(({ hasUnsaved }) => hasUnsaved),
    )
  }

  /** A session that is new may stand behind a crash of the server, which has lost what was not on the disk. */
  #heardOf(session: string | undefined): void {
    if (session === undefined || this.#sessions.has(session)) return
    if (this.#sessions.size > 0) this.#saveAgain()
    this.#sessions.add(session)
  }

  #saveAgain(): void {
    for (const { drafts } of this.#places) for (const draft of drafts.values()) draft.saveAgain()
  }
}

function tooMany({ channel }: DraftPlace): LockstepError {
  return new LockstepError('LS_DRAFTS_TOO_MANY', {
    message: `${limits.maxDraftsPerChannel} operations show drafts on ${channel.name} already; no more are shown there.`,
  })
}

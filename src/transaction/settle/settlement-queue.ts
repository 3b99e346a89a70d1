import { whenSettled, type Clock } from '../../core/index.ts'
import { longestBatch, TroubledChannels, type Entry, type Sending } from './troubled-channels.ts'

export interface SettlementQueueOptions<Asked, Answer> {
  /** Settles some in one statement, all or none. Answers in their order. `isAgain`: some were held up or refused before. */
  readonly send: (asked: readonly Asked[], isAgain: boolean) => Promise<readonly Answer[]>
  /** Names what two settlements share that one of them may hold up, such as a channel. Default: they share nothing. */
  readonly channelOf?: (asked: Asked) => string | undefined
  /** An error that one of a batch may have brought on the others. */
  readonly isOfOne: (error: unknown) => boolean
  /** An error that goes away when others let go of their locks. */
  readonly isHeldUp: (error: unknown) => boolean
  readonly clock: Clock
  /** How long one that is held up is tried again before its asker is told, in milliseconds. */
  readonly patienceMs: number
  /** Statements under way at once. */
  readonly width: number
}

export interface AskOptions {
  /** Set where the settlement was held up before: it goes alone. */
  readonly isSuspect?: boolean | undefined
  /** Set where nobody waits for the settlement: such go one statement at a time, behind those that somebody waits for. */
  readonly isOrphan?: boolean | undefined
  /** Asks, before another try, whether to stop; true ends the search, and the question fails with its last error. */
  readonly isStopping?: (() => boolean) | undefined
}

/** Operations that wait, and those of channels that are in trouble. */
interface Backlog<Asked, Answer> {
  waiting: Entry<Asked, Answer>[]
  readonly troubled: TroubledChannels<Asked, Answer>
  wasLastAlone: boolean
}

/** Orphans get one statement of this many while others wait. */
const orphanShare = 4

/**
 * Gathers settlements: what is asked for while statements are under way goes into the next one, and one that is asked for
 * alone goes at once. A batch that others hold up lets go of its locks, and each channel of it is then tried by itself,
 * and then each operation. At most one statement at a time is such a try: with two allowed, the other is left to
 * operations that nothing is known to be in the way of. Orphans have a lane of their own, and a share.
 */
export class SettlementQueue<Asked, Answer> {
  readonly #options: SettlementQueueOptions<Asked, Answer>
  readonly #live: Backlog<Asked, Answer>
  readonly #orphans: Backlog<Asked, Answer>
  #underWay = 0
  #isOneAlone = false
  #isOrphanUnderWay = false
  #sinceOrphans = 0

  constructor(options: SettlementQueueOptions<Asked, Answer>) {
    this.#options = options
    this.#live = this.#createBacklog()
    this.#orphans = this.#createBacklog()
  }

  /** @throws errors of `send`; for a question that is held up, once `patienceMs` have passed */
  ask(asked: Asked, { isSuspect = false, isOrphan = false, isStopping }: AskOptions = {}): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const entry: Entry<Asked, Answer> = { asked, resolve, reject, isStopping, isSuspect }
      const lane = isOrphan ? this.#orphans : this.#live
      if (isSuspect) lane.troubled.add([entry])
      else lane.waiting.push(entry)
      this.#sendWaiting()
    })
  }

  #createBacklog(): Backlog<Asked, Answer> {
    const { channelOf = () => undefined, clock, patienceMs } = this.#options
    const onReady = (): void => this.#sendWaiting()
    const troubled = new TroubledChannels<Asked, Answer>({
      channelOf,
      clock,
      patienceMs,
      onReady,
    })
    return { waiting: [], troubled, wasLastAlone: false }
  }

  #sendWaiting(): void {
    while (this.#underWay < this.#options.width) {
      const isTurnOfOrphans = this.#sinceOrphans >= orphanShare - 1
      const orphans = isTurnOfOrphans ? this.#nextOrphans() : undefined
      const live = orphans === undefined ? this.#nextOf(this.#live) : undefined
      const sending = orphans ?? live ?? this.#nextOrphans()
      if (sending === undefined) return
      const isOrphan = sending !== live
      this.#sinceOrphans = isOrphan ? 0 : this.#sinceOrphans + 1
      this.#send(sending, isOrphan)
    }
  }

  #nextOrphans(): Sending<Asked, Answer> | undefined {
    return this.#isOrphanUnderWay ? undefined : this.#nextOf(this.#orphans)
  }

  /** Takes the next work of a backlog; batches and single operations take turns, so that neither waits for ever. */
  #nextOf(lane: Backlog<Asked, Answer>): Sending<Asked, Answer> | undefined {
    this.#setHeldAside(lane)
    const hasBatch = lane.waiting.length > 0
    const isTurnOfOne = !this.#isOneAlone && !(hasBatch && lane.wasLastAlone)
    const one = isTurnOfOne ? lane.troubled.next() : undefined
    lane.wasLastAlone = one !== undefined
    if (one !== undefined) return one
    if (!hasBatch) return undefined
    const batch = lane.waiting.splice(0, longestBatch)
    const [first] = batch
    return {
      batch,
      isOneAlone: false,
      answered: () => {},
      failed: (error) => {
        if (batch.length === 1 && first !== undefined) lane.troubled.addHeld(first, error)
        else lane.troubled.add(batch, error)
      },
      lost: () => {},
    }
  }

  /** Keeps entries out of new batches whose head is known to be held: they would hold up the batch. */
  #setHeldAside(lane: Backlog<Asked, Answer>): void {
    const held = lane.waiting.filter((entry) => lane.troubled.isHeld(entry))
    if (held.length === 0) return
    lane.waiting = lane.waiting.filter((entry) => !lane.troubled.isHeld(entry))
    lane.troubled.add(held)
  }

  #send(sending: Sending<Asked, Answer>, isOrphan: boolean): void {
    const { batch, isOneAlone } = sending
    this.#underWay += 1
    if (isOneAlone) this.#isOneAlone = true
    if (isOrphan) this.#isOrphanUnderWay = true
    const end = (tell: () => void): void => {
      this.#underWay -= 1
      if (isOneAlone) this.#isOneAlone = false
      if (isOrphan) this.#isOrphanUnderWay = false
      tell()
      this.#sendWaiting()
    }
    whenSettled(
      this.#options.send(
        batch.map(({ asked }) => asked),
        isOneAlone,
      ),
      (answers) =>
        end(() => {
          batch.forEach(({ resolve }, index) => resolve(answers[index] as Answer))
          sending.answered()
        }),
      (error: unknown) => end(() => this.#fail(sending, error)),
    )
  }

  #fail(sending: Sending<Asked, Answer>, error: unknown): void {
    const { isOfOne, isHeldUp } = this.#options
    const { batch, failed, lost } = sending
    if (isHeldUp(error) || (batch.length > 1 && isOfOne(error))) return failed(error)
    for (const { reject } of batch) reject(error)
    lost()
  }
}

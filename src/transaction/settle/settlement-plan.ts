import { longestBatch, type ChannelTrouble, type QueuedSettlement } from './channel-trouble.ts'
import { TroubledChannels } from './troubled-channels.ts'

/** Settlements of one statement. */
export interface SettlementBatch<Entry extends QueuedSettlement> {
  readonly entries: readonly Entry[]
  /** The channel in trouble that all of them are of. Absent where nothing is known to be in their way. */
  readonly trouble?: ChannelTrouble<Entry>
}

/** The next thing to do for the settlements that wait. */
export type PlanStep<Entry extends QueuedSettlement> =
  | { readonly step: 'send'; readonly batch: SettlementBatch<Entry> }
  | { readonly step: 'fail'; readonly entries: readonly Entry[]; readonly error: unknown }
  /** Wait until that time, in monotonic milliseconds, unless a statement ends or a settlement is added. */
  | { readonly step: 'wait'; readonly untilMs: number | undefined }

/** Meaning of an error for the batch that met it. */
export type BatchFailure =
  /** The batch needs locks that others hold, and will let go of. */
  | 'heldUp'
  /** A single settlement of the batch may have brought it on the others. */
  | 'ofOne'
  /** Each of them would have met the error. */
  | 'ofAll'

/** Settlements that somebody waits for, or those that nobody waits for. */
interface Backlog<Entry extends QueuedSettlement> {
  waiting: Entry[]
  readonly troubled: TroubledChannels<Entry>
  wasLastAlone: boolean
}

/** Orphans get one statement of this many while others wait. */
const orphanShare = 4

/**
 * Decides which settlements go together into the next statement. What is asked for while statements are under way goes
 * into the next one, and one that is asked for alone goes at once. A batch that others hold up lets go of its locks, and
 * each channel of it is then tried by itself, and then each operation. At most one statement at a time is such a try: with
 * two allowed, the other is left to operations that nothing is known to be in the way of. Orphans have a lane of their
 * own, and a share. Pure: `SettlementQueue` sends, and keeps the time.
 */
export class SettlementPlan<Entry extends QueuedSettlement> {
  readonly #width: number
  readonly #live: Backlog<Entry>
  readonly #orphans: Backlog<Entry>
  #underWay = 0
  #isTryUnderWay = false
  #isOrphanUnderWay = false
  #sinceOrphans = 0

  /**
   * @param width statements under way at once
   * @param patienceMs how long a settlement that is held up is tried again before its asker is told
   */
  constructor(width: number, patienceMs: number) {
    this.#width = width
    this.#live = { waiting: [], troubled: new TroubledChannels(patienceMs), wasLastAlone: false }
    this.#orphans = { waiting: [], troubled: new TroubledChannels(patienceMs), wasLastAlone: false }
  }

  add(entry: Entry, nowMs: number): void {
    const lane = this.#laneOf(entry)
    if (entry.isSuspect) lane.troubled.add([entry], nowMs)
    else lane.waiting.push(entry)
  }

  /** The next thing to do. Each batch that is to be sent needs its `answered` or `failed`. */
  next(nowMs: number): PlanStep<Entry> {
    if (this.#underWay >= this.#width) return { step: 'wait', untilMs: undefined }
    const isTurnOfOrphans = this.#sinceOrphans >= orphanShare - 1
    const step =
      (isTurnOfOrphans ? this.#nextOrphans(nowMs) : undefined) ??
      this.#nextOf(this.#live, nowMs) ??
      this.#nextOrphans(nowMs)
    if (step?.step === 'send') this.#sent(step.batch)
    return step ?? { step: 'wait', untilMs: this.#nextEndMs(nowMs) }
  }

  answered(batch: SettlementBatch<Entry>): void {
    this.#ended(batch)
    if (batch.trouble !== undefined) this.#laneOf(batch.entries[0]).troubled.answered(batch.trouble)
  }

  /** @returns the settlements that fail with the error; the others of the batch are tried again */
  failed(
    batch: SettlementBatch<Entry>,
    failure: BatchFailure,
    error: unknown,
    nowMs: number,
  ): readonly Entry[] {
    this.#ended(batch)
    const { entries, trouble } = batch
    const [first] = entries
    const { troubled } = this.#laneOf(first)
    const isAlone = entries.length === 1
    if (failure === 'ofAll' || (failure === 'ofOne' && isAlone)) {
      if (trouble !== undefined) troubled.lost(trouble)
      return entries
    }
    if (trouble !== undefined) return troubled.failed(trouble, entries, error, nowMs)
    if (isAlone && first !== undefined) return troubled.addHeld(first, error, nowMs)
    troubled.add(entries, nowMs, error)
    return []
  }

  #laneOf(entry: Entry | undefined): Backlog<Entry> {
    return entry?.isOrphan === true ? this.#orphans : this.#live
  }

  /** The next end of a pause. One that has passed waits for a statement under way, whose answer asks again. */
  #nextEndMs(nowMs: number): number | undefined {
    const ends = [this.#live, this.#orphans]
      .flatMap(({ troubled }) => troubled.nextEndMs ?? [])
      .filter((endMs) => endMs > nowMs)
    return ends.length === 0 ? undefined : ends.reduce((one, other) => Math.min(one, other))
  }

  #nextOrphans(nowMs: number): PlanStep<Entry> | undefined {
    return this.#isOrphanUnderWay ? undefined : this.#nextOf(this.#orphans, nowMs)
  }

  /** Takes the next work of a backlog; batches and tries take turns, so that neither waits for ever. */
  #nextOf(lane: Backlog<Entry>, nowMs: number): PlanStep<Entry> | undefined {
    this.#setHeldAside(lane, nowMs)
    const hasBatch = lane.waiting.length > 0
    const isTurnOfTry = !this.#isTryUnderWay && !(hasBatch && lane.wasLastAlone)
    const one = isTurnOfTry ? lane.troubled.next(nowMs) : undefined
    if (one?.step === 'fail') return one
    lane.wasLastAlone = one !== undefined
    if (one !== undefined) return { step: 'send', batch: { entries: one.batch, trouble: one.trouble } }
    if (!hasBatch) return undefined
    return { step: 'send', batch: { entries: lane.waiting.splice(0, longestBatch) } }
  }

  /** Keeps settlements out of new batches whose head is known to be held: they would hold up the batch. */
  #setHeldAside(lane: Backlog<Entry>, nowMs: number): void {
    if (lane.troubled.isEmpty) return
    const held = lane.waiting.filter((entry) => lane.troubled.isHeld(entry))
    if (held.length === 0) return
    lane.waiting = lane.waiting.filter((entry) => !lane.troubled.isHeld(entry))
    lane.troubled.add(held, nowMs)
  }

  #sent({ entries: [first], trouble }: SettlementBatch<Entry>): void {
    const isOrphan = first?.isOrphan === true
    this.#underWay += 1
    if (trouble !== undefined) this.#isTryUnderWay = true
    if (isOrphan) this.#isOrphanUnderWay = true
    this.#sinceOrphans = isOrphan ? 0 : this.#sinceOrphans + 1
  }

  #ended({ entries: [first], trouble }: SettlementBatch<Entry>): void {
    this.#underWay -= 1
    if (trouble !== undefined) this.#isTryUnderWay = false
    if (first?.isOrphan === true) this.#isOrphanUnderWay = false
  }
}

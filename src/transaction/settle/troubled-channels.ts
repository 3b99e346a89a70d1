import { mutationPoint } from '../../protocol/mutation-point.ts'
import { ChannelTrouble, type QueuedSettlement, type TroubleStep } from './channel-trouble.ts'

/** The next thing to do for channels in trouble. */
export type TroubledStep<Entry extends QueuedSettlement> =
  | { readonly step: 'send'; readonly batch: readonly Entry[]; readonly trouble: ChannelTrouble<Entry> }
  /** Settlements that are to stop fail with the error that made them wait. */
  | { readonly step: 'fail'; readonly entries: readonly Entry[]; readonly error: unknown }

/**
 * Decides whose turn it is among the channels whose settlements were held up or refused. Channels take turns, those first of
 * which nothing is known, so that a channel whose head is held costs others one wait, however much stands behind that head.
 * Pure: it is told the time.
 */
export class TroubledChannels<Entry extends QueuedSettlement> {
  readonly #patienceMs: number
  readonly #byKey = new Map<unknown, ChannelTrouble<Entry>>()
  readonly #ready: ChannelTrouble<Entry>[] = []
  /** Channels that pause, the one that ends first at the front. */
  readonly #paused: ChannelTrouble<Entry>[] = []

  constructor(patienceMs: number) {
    this.#patienceMs = patienceMs
  }

  get isEmpty(): boolean {
    return this.#byKey.size === 0
  }

  /** Time at which the next pause ends; undefined where there is none. */
  get nextEndMs(): number | undefined {
    return this.#paused[0]?.pausedUntilMs
  }

  /** Whether the settlement would stand behind a head that is known to be held. */
  isHeld({ channel }: Entry): boolean {
    return channel !== undefined && this.#byKey.get(channel)?.isHeld === true
  }

  /** Takes the settlements of a statement that failed with `error`, or those that are known to be in trouble. */
  add(entries: readonly Entry[], nowMs: number, error?: unknown): void {
    const isOfSeveral = new Set(entries.map(keyOf)).size > 1
    const isNew = new Set<ChannelTrouble<Entry>>()
    for (const entry of entries) {
      const key = keyOf(entry)
      const known = this.#byKey.get(key)
      const trouble = known ?? this.#create(key, isOfSeveral)
      trouble.add(entry, nowMs, error)
      if (known === undefined) isNew.add(trouble)
      else if (!isNew.has(trouble) && !trouble.isHeld) this.#endPause(trouble)
    }
    for (const one of isNew) this.#ready.push(one)
  }

  /** Takes a settlement that was held up alone: it comes again after a pause. */
  addHeld(entry: Entry, error: unknown, nowMs: number): readonly Entry[] {
    const key = keyOf(entry)
    entry.isSuspect = true
    if (!this.#byKey.has(key)) return this.#miss(this.#create(key, false), entry, error, nowMs)
    this.add([entry], nowMs, error)
    return []
  }

  /** The next thing to do, if there is any. */
  next(nowMs: number): TroubledStep<Entry> | undefined {
    this.#endPauses(nowMs)
    for (;;) {
      const unproven = this.#ready.findIndex(({ isUnproven }) => isUnproven)
      const place = Math.max(unproven, 0)
      const trouble = this.#ready[place]
      if (trouble === undefined) return undefined
      const stopped = trouble.takeStopped()
      if (stopped !== undefined) return { step: 'fail', ...stopped }
      this.#ready.splice(place, 1)
      const batch = trouble.take()
      if (batch.length > 0) return { step: 'send', batch, trouble }
      this.#byKey.delete(trouble.key)
    }
  }

  answered(trouble: ChannelTrouble<Entry>): void {
    this.#follow(trouble, trouble.answered())
  }

  /** Takes a batch that was held up, or of which one may have failed the others. @returns the settlements that fail with the error */
  failed(
    trouble: ChannelTrouble<Entry>,
    batch: readonly Entry[],
    error: unknown,
    nowMs: number,
  ): readonly Entry[] {
    const [first] = batch
    if (batch.length === 1 && first !== undefined) return this.#miss(trouble, first, error, nowMs)
    this.#follow(trouble, trouble.part(batch, error))
    return []
  }

  /** The batch has failed for good: the others of its channel go on. */
  lost(trouble: ChannelTrouble<Entry>): void {
    this.#follow(trouble, trouble.goesOn())
  }

  #create(key: unknown, goesTogether: boolean): ChannelTrouble<Entry> {
    const trouble = new ChannelTrouble<Entry>(key, this.#patienceMs, goesTogether)
    this.#byKey.set(key, trouble)
    return trouble
  }

  #miss(trouble: ChannelTrouble<Entry>, entry: Entry, error: unknown, nowMs: number): readonly Entry[] {
    const { step, over } = trouble.miss(entry, error, nowMs)
    this.#follow(trouble, step)
    return over
  }

  #follow(trouble: ChannelTrouble<Entry>, step: TroubleStep): void {
    if (step === 'isOver') this.#byKey.delete(trouble.key)
    else if (step === 'goesOn') this.#ready.push(trouble)
    else this.#pause(trouble)
  }

  #pause(trouble: ChannelTrouble<Entry>): void {
    if (mutationPoint('settlement that was held up never tried again')) return
    const until = trouble.pausedUntilMs ?? 0
    const behind = this.#paused.findLastIndex(({ pausedUntilMs = 0 }) => pausedUntilMs <= until)
    this.#paused.splice(behind + 1, 0, trouble)
  }

  #endPauses(nowMs: number): void {
    for (;;) {
      const [first] = this.#paused
      if (first?.pausedUntilMs === undefined || first.pausedUntilMs > nowMs) return
      this.#endPause(first)
    }
  }

  #endPause(trouble: ChannelTrouble<Entry>): void {
    const place = this.#paused.indexOf(trouble)
    if (place < 0) return
    this.#paused.splice(place, 1)
    trouble.endPause()
    this.#ready.push(trouble)
  }
}

function keyOf(entry: QueuedSettlement): unknown {
  return entry.channel ?? entry
}

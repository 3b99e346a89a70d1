// A history for many listeners of few channels: each event is written once, and who received it as runs of offsets.
import type { History, HistoryEntry, HistoryLine } from './history.ts'

type Delivered = Extract<HistoryEntry, { kind: 'deliver' }>

interface Run {
  readonly subscriber: string
  readonly channel: string
  readonly from: number
  to: number
}

/**
 * Takes deliveries as any history does. One whose text is that of the first delivery of its offset goes into a run, any
 * other is written as it is, so nothing that the checker looks for is lost.
 */
export class CompactHistory implements History {
  readonly #to: History
  /** Texts of first deliveries, by channel and offset. */
  readonly #texts = new Map<string, Map<number, string>>()
  readonly #runs = new Map<string, Run>()
  #deliveries = 0

  constructor(to: History) {
    this.#to = to
  }

  get lines(): readonly HistoryLine[] {
    return this.#to.lines
  }

  get deliveries(): number {
    return this.#deliveries
  }

  add(entry: HistoryEntry): void {
    if (entry.kind === 'deliver') return this.#deliver(entry)
    if (entry.kind === 'join' || entry.kind === 'reset') this.#end(keyOf(entry))
    this.#to.add(entry)
  }

  /** Writes the runs that are still going on. */
  flush(): void {
    for (const key of this.#runs.keys()) this.#end(key)
  }

  async close(): Promise<void> {
    this.flush()
    await this.#to.close()
  }

  #deliver(entry: Delivered): void {
    this.#deliveries += 1
    const key = keyOf(entry)
    if (!this.#isKnown(entry)) {
      this.#end(key)
      this.#to.add(entry)
      return
    }
    const { subscriber, channel, offset } = entry
    const run = this.#runs.get(key)
    if (run !== undefined && offset === run.to + 1) {
      run.to = offset
      return
    }
    this.#end(key)
    this.#runs.set(key, { subscriber, channel, from: offset, to: offset })
  }

  /**
   * Returns whether the event equals, letter by letter, the first delivery at this offset. A first delivery is written.
   */
  #isKnown({ channel, offset, type, id, data }: Delivered): boolean {
    let texts = this.#texts.get(channel)
    if (texts === undefined) this.#texts.set(channel, (texts = new Map()))
    const text = `${type} ${id} ${data}`
    const first = texts.get(offset)
    if (first !== undefined) return first === text
    texts.set(offset, text)
    this.#to.add({ kind: 'payload', channel, offset, type, id, data })
    return true
  }

  #end(key: string): void {
    const run = this.#runs.get(key)
    if (run === undefined) return
    this.#runs.delete(key)
    this.#to.add({ kind: 'run', ...run })
  }
}

const keyOf = ({ subscriber, channel }: { readonly subscriber: string; readonly channel: string }): string =>
  `${subscriber} ${channel}`

import { Int32Histogram } from 'hdr-histogram-js'
import type { GapFigures } from '../model/dashboard-data.ts'

/** Longest distance that is told apart, in milliseconds; what is beyond counts as this. */
export const longestGapMs = 3_600_000

/** Figures and counts of some gaps, as they travel and are stored. */
export interface EncodedGaps {
  readonly count: number
  /** Sum of the distances |gap|, in milliseconds. */
  readonly sum: number
  readonly min: number
  readonly max: number
  readonly early: number
  readonly over: number
  /** See `encodeCounts`. */
  readonly late: string
  readonly ahead?: string
}

/**
 * Signed gaps of one kind, in microseconds at two significant digits. Early ones stand in a histogram of their own,
 * so that no figure of the late ones can hide them. 14 KiB, twice that once something came early.
 */
export class GapHistogram {
  count = 0
  sumMs = 0
  minMs = Number.POSITIVE_INFINITY
  /** Largest distance |gap|. */
  maxMs = 0
  early = 0
  over = 0
  #late: Int32Histogram | undefined
  #ahead: Int32Histogram | undefined

  /** Takes anything but NaN, which is no gap: false then. */
  record(gapMs: number, thresholdMs: number): boolean {
    if (Number.isNaN(gapMs)) return false
    const gap = Math.max(-longestGapMs, Math.min(longestGapMs, gapMs))
    const distance = Math.abs(gap)
    this.count += 1
    this.sumMs += distance
    if (gap < this.minMs) this.minMs = gap
    if (distance > this.maxMs) this.maxMs = distance
    if (gap < 0) {
      this.early += 1
      this.#ahead ??= newHistogram()
      this.#ahead.recordValue(Math.round(distance * 1000))
    } else {
      if (gap > thresholdMs) this.over += 1
      this.#late ??= newHistogram()
      this.#late.recordValue(Math.round(distance * 1000))
    }
    return true
  }

  add(other: EncodedGaps): void {
    // An empty histogram says 0 for its smallest, which is no measured gap.
    if (other.count === 0) return
    this.count += other.count
    this.sumMs += other.sum
    this.minMs = Math.min(this.minMs, other.min)
    this.maxMs = Math.max(this.maxMs, other.max)
    this.early += other.early
    this.over += other.over
    if (other.late !== '') decodeCounts(other.late, (this.#late ??= newHistogram()))
    if (other.ahead !== undefined) decodeCounts(other.ahead, (this.#ahead ??= newHistogram()))
  }

  encode(): EncodedGaps {
    return {
      count: this.count,
      sum: round(this.sumMs),
      min: round(this.count === 0 ? 0 : this.minMs),
      max: round(this.maxMs),
      early: this.early,
      over: this.over,
      late: this.#late === undefined ? '' : encodeCounts(this.#late),
      ...(this.#ahead === undefined ? {} : { ahead: encodeCounts(this.#ahead) }),
    }
  }

  figures(thresholdMs: number): GapFigures {
    const { count, early, over } = this
    const distances = this.#distances()
    return {
      count,
      average: count === 0 ? 0 : round(this.sumMs / count),
      p50: this.#percentile(distances, 50),
      p99: this.#percentile(distances, 99),
      max: round(this.maxMs),
      min: count === 0 ? 0 : round(this.minMs),
      early,
      over,
      thresholdMs,
    }
  }

  #percentile(distances: Int32Histogram | undefined, percentile: number): number {
    if (distances === undefined) return 0
    // The histogram answers the upper end of its bucket, which may lie above the largest value.
    return round(Math.min(distances.getValueAtPercentile(percentile) / 1000, this.maxMs))
  }

  #distances(): Int32Histogram | undefined {
    if (this.#ahead === undefined) return this.#late
    if (this.#late === undefined) return this.#ahead
    const both = newHistogram()
    both.add(this.#late)
    both.add(this.#ahead)
    return both
  }
}

const newHistogram = (): Int32Histogram => new Int32Histogram(1, longestGapMs * 1000, 2)

const round = (value: number): number => Math.round(value * 1000) / 1000

/** The buckets that are not empty, as pairs of (steps from the bucket before, count), LEB128, in base64. */
function encodeCounts(histogram: Int32Histogram): string {
  const bytes: number[] = []
  let before = 0
  for (let index = 0; index < histogram.countsArrayLength; index++) {
    const count = histogram.getCountAtIndex(index)
    if (count === 0) continue
    pushNumber(bytes, index - before)
    pushNumber(bytes, count)
    before = index
  }
  return Buffer.from(bytes).toString('base64')
}

function decodeCounts(text: string, into: Int32Histogram): void {
  const bytes = Buffer.from(text, 'base64')
  let place = 0
  let index = 0
  const next = (): number => {
    let value = 0
    for (let scale = 1; place < bytes.length; scale *= 128) {
      const byte = bytes[place++] ?? 0
      value += (byte & 127) * scale
      if (byte < 128) break
    }
    return value
  }
  while (place < bytes.length) {
    index += next()
    const count = next()
    if (index >= into.countsArrayLength) return
    into.recordValueWithCount(into.valueFromIndex(index), count)
  }
}

function pushNumber(bytes: number[], value: number): void {
  let rest = value
  while (rest >= 128) {
    bytes.push((rest % 128) | 128)
    rest = Math.floor(rest / 128)
  }
  bytes.push(rest)
}

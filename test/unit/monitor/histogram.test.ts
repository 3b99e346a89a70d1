// Gap histograms against a plain list of the same gaps.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { GapHistogram, longestGapMs } from '../../../src/monitor/measure/gap-histogram.ts'

const thresholdMs = 100
const gap = fc.oneof(
  fc.double({ min: -500, max: 500, noNaN: true }),
  fc.double({ min: -longestGapMs, max: longestGapMs, noNaN: true }),
  fc.constantFrom(0, 100, 100.001, -0.001),
)

function histogramOf(gaps: readonly number[]): GapHistogram {
  const histogram = new GapHistogram()
  for (const gapMs of gaps) histogram.record(gapMs, thresholdMs)
  return histogram
}

test('parts that travelled and were merged say what a list of all gaps says', () => {
  fc.assert(
    fc.property(fc.array(fc.array(gap, { maxLength: 60 }), { minLength: 1, maxLength: 5 }), (parts) => {
      const merged = new GapHistogram()
      for (const part of parts) merged.add(JSON.parse(JSON.stringify(histogramOf(part).encode())))
      const all = parts.flat()
      const figures = merged.figures(thresholdMs)
      expect(figures.count).toBe(all.length)
      expect(figures.early).toBe(all.filter((gapMs) => gapMs < 0).length)
      expect(figures.over).toBe(all.filter((gapMs) => gapMs > thresholdMs).length)
      if (all.length === 0) return
      const distances = all.map(Math.abs).toSorted((a, b) => a - b)
      const sum = distances.reduce((total, distance) => total + distance, 0)
      expect(figures.average).toBeCloseTo(sum / all.length, 1)
      expect(figures.min).toBeCloseTo(Math.min(...all), 2)
      expect(figures.max).toBeCloseTo(distances.at(-1) ?? 0, 2)
      for (const [percentile, figure] of [
        [50, figures.p50],
        [99, figures.p99],
      ] as const) {
        const exact = distances[Math.ceil((percentile / 100) * distances.length) - 1] ?? 0
        // Two significant digits, and a microsecond.
        expect(Math.abs(figure - exact)).toBeLessThanOrEqual(exact * 0.01 + 0.002)
      }
    }),
    // A part in which nothing was measured once brought its 0 along as the smallest gap.
    { examples: [[[[100], []]]] },
  )
})

test('an early gap is not lost in an average: 500 ms early among 10,000 that are punctual', () => {
  const histogram = histogramOf([...Array.from({ length: 10_000 }, () => 1), -500])
  expect(histogram.figures(thresholdMs)).toMatchObject({ early: 1, min: -500, max: 500, count: 10_001 })
  const offset = histogramOf([-500, 500])
  expect(offset.figures(thresholdMs)).toMatchObject({ average: 500, early: 1, over: 1 })
})

test('wild values are bounded, and what is no number is refused', () => {
  const histogram = new GapHistogram()
  expect(histogram.record(Number.NaN, thresholdMs)).toBe(false)
  for (const wild of [Infinity, -Infinity, Number.MAX_VALUE, -Number.MAX_VALUE, Number.MIN_VALUE, -0]) {
    expect(histogram.record(wild, thresholdMs)).toBe(true)
  }
  const figures = histogram.figures(thresholdMs)
  expect(figures).toMatchObject({ count: 6, early: 2, over: 2, max: longestGapMs, min: -longestGapMs })
  expect(Object.values(figures).every(Number.isFinite)).toBe(true)
})

test('a stored histogram stays small, and a broken one does no harm', () => {
  const histogram = new GapHistogram()
  for (let n = 0; n < 200_000; n++) histogram.record(((n * 7919) % 3_600_000) - 1_000_000, thresholdMs)
  expect(JSON.stringify(histogram.encode()).length).toBeLessThan(12_000)
  const broken = new GapHistogram()
  const encoded = histogram.encode()
  broken.add({ ...encoded, late: 'AAECAwQF////////', ahead: '!!' })
  broken.add({ ...encoded, late: encoded.late.slice(0, 17) })
  expect(Number.isFinite(broken.figures(thresholdMs).p99)).toBe(true)
})

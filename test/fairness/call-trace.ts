// Shows where the time of a call goes: moments on its way, on the one clock that all processes of a machine share.
import { readFileSync } from 'node:fs'
import { PerformanceObserver } from 'node:perf_hooks'

/** Moments of a call, in the order in which they come; each ends the part that is named after it. */
export const moments = [
  'sent',
  'arrived',
  'asked',
  'granted',
  'began',
  'ran',
  'noted',
  'flushed',
  'committed',
  'replied',
  'heard',
] as const
export type Moment = (typeof moments)[number]

/** Milliseconds on the machine's clock, by moment. */
export type Moments = Partial<Record<Moment, number>>

/** Names of the parts of a call, each by the moment that ends it. */
const parts: Readonly<Record<Exclude<Moment, 'sent'>, string>> = {
  arrived: 'until the node reads it',
  asked: 'until it asks for a turn',
  granted: 'wait for a turn',
  began: 'wait for a connection',
  ran: 'BEGIN and work',
  noted: 'wait for the intent',
  flushed: 'wait for the flush of others',
  committed: 'flush and COMMIT',
  replied: 'until the reply is written',
  heard: 'until the caller reads it',
}

/** A moment at which the loop of a process stood still. */
export interface Standstill {
  readonly from: number
  readonly ms: number
  /** Milliseconds of it on a processor, and those in which it was ready to run and had none. */
  readonly ranMs: number
  readonly queuedMs: number
}

export interface Trace {
  readonly calls: readonly (readonly [n: number, moments: Moments])[]
  readonly standstills: readonly Standstill[]
  /** Milliseconds of collections of garbage that took longer than a few. */
  readonly collectionsMs: readonly number[]
}

export function machineMs(): number {
  return Number(process.hrtime.bigint()) / 1e6
}

const lookMs = 5
const shortestMs = 15

/** Watches how long the loop of this process stands still, and why. */
export class StandstillWatch {
  #standstills: Standstill[] = []
  #collectionsMs: number[] = []

  constructor() {
    let [at, ran, queued] = [machineMs(), 0, 0]
    setInterval(() => {
      const now = machineMs()
      const [ranNow = 0, queuedNow = 0] = readFileSync('/proc/thread-self/schedstat', 'utf8')
        .split(' ')
        .map(Number)
      if (now - at > lookMs + shortestMs) {
        this.#standstills.push({
          from: at,
          ms: now - at,
          ranMs: (ranNow - ran) / 1e6,
          queuedMs: (queuedNow - queued) / 1e6,
        })
      }
      ;[at, ran, queued] = [now, ranNow, queuedNow]
    }, lookMs).unref()
    new PerformanceObserver((list) => {
      for (const { duration } of list.getEntries()) if (duration > lookMs) this.#collectionsMs.push(duration)
    }).observe({ entryTypes: ['gc'] })
  }

  lap(): Pick<Trace, 'standstills' | 'collectionsMs'> {
    const [standstills, collectionsMs] = [this.#standstills, this.#collectionsMs]
    this.#standstills = []
    this.#collectionsMs = []
    return { standstills, collectionsMs }
  }
}

/** Words for where the time went, for the slowest one of a hundred calls and for the one in the middle. */
export function shownCalls(calls: readonly Moments[]): string {
  const whole = calls
    .map((each) => ({ ...each, ms: (each.heard ?? 0) - (each.sent ?? 0) }))
    .filter(({ arrived, heard }) => arrived !== undefined && heard !== undefined)
    .toSorted((a, b) => a.ms - b.ms)
  const slowest = whole.slice(Math.floor(whole.length * 0.99))
  const middle = whole.slice(Math.floor(whole.length * 0.45), Math.ceil(whole.length * 0.55))
  const lines = [
    `${whole.length} of ${calls.length} calls were seen; the slowest 1 %, and those in the middle`,
  ]
  lines.push(
    `${shownMs(mean(slowest.map(({ ms }) => ms)))}  ${shownMs(mean(middle.map(({ ms }) => ms)))}  in all`,
  )
  for (const [moment, words] of Object.entries(parts) as [keyof typeof parts, string][]) {
    const of = (some: readonly Moments[]): string => shownMs(mean(some.map((each) => partOf(each, moment))))
    lines.push(`${of(slowest)}  ${of(middle)}  ${words}`)
  }
  return lines.join('\n')
}

/** Time from the moment before that is known to this one; none where that comes first. */
function partOf(call: Moments, moment: Moment): number {
  const at = call[moment]
  if (at === undefined) return 0
  const before = moments.slice(0, moments.indexOf(moment)).map((each) => call[each] ?? -Infinity)
  return Math.max(0, at - Math.max(...before))
}

export function shownStandstills({ standstills, collectionsMs }: Omit<Trace, 'calls'>): string {
  const sum = (of: (each: Standstill) => number): number => standstills.reduce((ms, each) => ms + of(each), 0)
  const longest = standstills.toSorted((a, b) => b.ms - a.ms).slice(0, 5)
  return (
    `${standstills.length} standstills, ${sum(({ ms }) => ms).toFixed(0)} ms in all, of them ` +
    `${sum(({ ranMs }) => ranMs).toFixed(0)} ms at work and ${sum(({ queuedMs }) => queuedMs).toFixed(0)} ms without a processor; longest ` +
    longest
      .map((each) => `${each.ms.toFixed(0)} (${each.ranMs.toFixed(0)} + ${each.queuedMs.toFixed(0)})`)
      .join(', ') +
    `; ${collectionsMs.length} long collections, ${collectionsMs.reduce((ms, each) => ms + each, 0).toFixed(0)} ms, longest ${Math.max(0, ...collectionsMs).toFixed(0)} ms`
  )
}

function mean(values: readonly number[]): number {
  return values.length === 0 ? 0 : values.reduce((sum, each) => sum + each, 0) / values.length
}

function shownMs(ms: number): string {
  return ms.toFixed(1).padStart(7)
}

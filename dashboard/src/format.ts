const whole = new Intl.NumberFormat('en')
const noValue = '–'

export function count(value: number | null): string {
  return value === null ? noValue : whole.format(value)
}

/** Rounded down: only a score without a fault reads 1. */
export function score(value: number | null): string {
  return value === null ? noValue : (Math.floor(value * 1_000) / 1_000).toFixed(3)
}

/** Three figures and a unit. */
export function duration(ms: number): string {
  const size = Math.abs(ms)
  const sign = ms < 0 ? '−' : ''
  if (size < 10) return `${sign}${trim(size, 2)} ms`
  if (size < 100) return `${sign}${trim(size, 1)} ms`
  if (size < 1_000) return `${sign}${Math.round(size)} ms`
  if (size < 60_000) return `${sign}${trim(size / 1_000, size < 10_000 ? 2 : 1)} s`
  if (size < 5_400_000) return `${sign}${Math.round(size / 60_000)} min`
  if (size < 172_800_000) return `${sign}${Math.round(size / 3_600_000)} h`
  return `${sign}${Math.round(size / 86_400_000)} days`
}

export function gap(ms: number): string {
  return ms > 0 ? `+${duration(ms)}` : duration(ms)
}

function trim(value: number, digits: number): string {
  return value === 0 ? '0' : value.toFixed(digits)
}

export function rate(perSecond: number): string {
  if (perSecond === 0) return '0'
  if (perSecond < 0.1) return '< 0.1'
  return perSecond < 100 ? perSecond.toFixed(1) : whole.format(Math.round(perSecond))
}

export const plural = (value: number, one: string, many: string): string =>
  `${count(value)} ${value === 1 ? one : many}`

const clock = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' })
const shortClock = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' })
const dateAndClock = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'medium' })

// Formats a time, or shows that the value is none: one broken value must not take the page down.
function formatWith(format: Intl.DateTimeFormat, at: string | number): string {
  const date = new Date(at)
  return Number.isNaN(date.getTime()) ? noValue : format.format(date)
}

export const time = (at: string | number): string => formatWith(clock, at)
export const shortTime = (at: string | number): string => formatWith(shortClock, at)
export const dateTime = (at: string | number): string => formatWith(dateAndClock, at)

/** @returns for the attribute `dateTime` of a time element; undefined where `at` is no time */
export function isoTime(at: string | number): string | undefined {
  const date = new Date(at)
  return Number.isNaN(date.getTime()) ? undefined : date.toISOString()
}

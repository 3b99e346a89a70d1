import { setTimeout as delay } from 'node:timers/promises'

const longestHoldMs = 60_000

const earlyMs = 500

/**
 * True for a message whose event is emitted long before its transaction ends: the rollout mode decides what users see.
 */
export function isEarly(body: string): boolean {
  return /^\/(?:early|ghost)\b/.test(body)
}

/** Bodies that make trouble on purpose, so that a person can watch what happens then. */
export async function tryToBreak(body: string, signal: AbortSignal): Promise<void> {
  if (/^\/fail\b/.test(body)) throw new Error('this message asked to fail after its insert')
  if (isEarly(body)) await delay(earlyMs, undefined, { signal })
  if (/^\/ghost\b/.test(body)) throw new Error('this message asked to fail after its event was emitted')
  const hold = /^\/hold\s+(\d{1,9})\b/.exec(body)
  if (hold === null) return
  await delay(Math.min(Number(hold[1]), longestHoldMs), undefined, { signal })
}

import type pg from 'pg'

/** Puts moments of this process on the database's clock, from outside of Lockstep. */
export interface OutsideClock {
  toDatabaseMs(monotonicMs: number): number
  /** Largest error of `toDatabaseMs`, in milliseconds. */
  readonly errorMs: number
}

const questions = 30

/** Asks for the time again and again; the quickest answer is the most exact. */
export async function readOutsideClock(client: pg.ClientBase): Promise<OutsideClock> {
  let best = { offset: 0, errorMs: Infinity }
  for (let n = 0; n < questions; n += 1) {
    const sent = performance.now()
    const { rows } = await client.query('select extract(epoch from clock_timestamp())::float8 * 1000 as at')
    const received = performance.now()
    const errorMs = (received - sent) / 2
    const { at } = rows[0] as { at: number }
    if (errorMs < best.errorMs) best = { offset: at - (sent + errorMs), errorMs }
  }
  return { toDatabaseMs: (monotonicMs) => monotonicMs + best.offset, errorMs: best.errorMs }
}

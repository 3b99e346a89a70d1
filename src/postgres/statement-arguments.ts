import { describeGiven, LockstepError } from '../core/index.ts'

/** Checks of what code without types gives to `query`: `pg` would send part of it, or answer nobody. */

export const insertMany = 'insert into … select … from unnest($1::text[], $2::int[])'
export const readInPortions = `tx.db.query('declare c cursor for …'), then tx.db.query('fetch 100 from c')`

/**
 * Refuses what writes to the connection by itself: cursors, query streams, COPY.
 * @throws LS_STATEMENT_UNSUPPORTED
 */
export function refuseSubmittable(config: unknown): void {
  if (typeof config !== 'object' || config === null || !('submit' in config)) return
  if (typeof config.submit !== 'function') return
  throw unsupported(
    `query takes a text, or an object with text and values, and got a ${config.constructor.name}. ` +
      'Cursors, query streams and COPY take the connection for themselves. ' +
      `To read in portions: ${readInPortions}. To write many rows at once: ${insertMany}.`,
  )
}

/**
 * Refuses a statement without a text: one that was prepared before, and is asked for by its name alone, could be any.
 * @throws LS_STATEMENT_UNSUPPORTED
 */
export function assertText(text: unknown): asserts text is string {
  if (typeof text === 'string') return
  const given = text === undefined ? 'no text' : describeGiven(text)
  throw unsupported(
    `query takes a text and a list of values, and got ${given}. Write db.query('select …', [value]).`,
  )
}

/** Refuses values that are no list: of a text, each letter would be a value. @throws LS_STATEMENT_UNSUPPORTED */
export function assertValues(values: unknown): asserts values is readonly unknown[] | null | undefined {
  if (values === undefined || values === null || Array.isArray(values)) return
  throw unsupported(
    `The values of query are a list, one for each $n of the text, and are ${describeGiven(values)}. Write [value].`,
  )
}

/** @throws LS_STATEMENT_UNSUPPORTED for a callback that cannot be called */
export function assertCallback(callback: unknown): void {
  if (callback === undefined || typeof callback === 'function') return
  throw unsupported(
    `The callback of query is a function, and is ${describeGiven(callback)}. Leave it out, and await what query answers.`,
  )
}

/** @throws LS_STATEMENT_UNSUPPORTED where a driver calls nobody back */
export function refuseCallback(...given: readonly unknown[]): void {
  for (const callback of given) {
    if (typeof callback !== 'function') assertCallback(callback)
    else throw unsupported('With PGlite, query answers with a promise and calls nobody back. Await it.')
  }
}

function unsupported(message: string): LockstepError {
  return new LockstepError('LS_STATEMENT_UNSUPPORTED', { message })
}

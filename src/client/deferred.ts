import type { LockstepClientError } from './errors.ts'

/** A promise, and what settles it. */
export interface Deferred<Value> {
  readonly promise: Promise<Value>
  readonly resolve: (value: Value) => void
  readonly reject: (error: LockstepClientError) => void
}

export function createDeferred<Value>(): Deferred<Value> {
  const deferred = {} as { -readonly [Key in keyof Deferred<Value>]: Deferred<Value>[Key] }
  deferred.promise = new Promise((resolve, reject) => Object.assign(deferred, { resolve, reject }))
  return deferred
}

import fc from 'fast-check'
import { LockstepError } from '../../src/index.ts'

/** Wraps an object so that any access throws. */
function hostileProxy(target: object): object {
  const trap = (): never => {
    throw new Error('a trap of a proxy')
  }
  const traps = Object.getOwnPropertyNames(Reflect).map((name) => [name, trap])
  return new Proxy(target, Object.fromEntries(traps) as ProxyHandler<object>)
}

function withGetter(target: object, name: PropertyKey): object {
  return Object.defineProperty(target, name, {
    enumerable: true,
    get() {
      throw new Error(`the getter of ${String(name)}`)
    },
  })
}

const cyclic = (): Error => {
  const cause: { self?: unknown } = {}
  cause.self = cause
  return new Error('cyclic', { cause })
}

const aggregate = (): Error => {
  const error = new AggregateError([], 'contains itself')
  error.errors.push(error)
  return error
}

const endless = (): Error => {
  const error = new Error('its own cause')
  error.cause = error
  return error
}

const revoked = (): object => {
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  return proxy
}

const brand = Symbol.for('lockstep.error')
const fields = [
  'message',
  'code',
  'stack',
  'cause',
  'name',
  'details',
  'errors',
  'toJSON',
  'constraint',
  brand,
]

/** Makes one value that somebody may throw, again at each call. */
export type Thrown = () => unknown

const shapes: readonly Thrown[] = [
  () => undefined,
  () => null,
  () => 0,
  () => Number.NaN,
  () => '',
  () => 10n,
  () => Symbol('thrown'),
  () => () => 'a function',
  () => new Date(Number.NaN),
  () => Object.create(null) as object,
  () => ({ toString: null, valueOf: null }),
  cyclic,
  aggregate,
  endless,
  () => new Error('with a BigInt', { cause: { amount: 10n } }),
  () => Object.freeze(new Error('frozen')),
  () => Object.assign(new Error('a code of another kind'), { code: Symbol('code') }),
  () => Object.assign(new Error('x'), { message: { toString: null } }),
  () => new Error('x'.repeat(1_000_000)),
  () => hostileProxy({}),
  () => hostileProxy(new Error('behind a proxy')),
  () => hostileProxy(() => {}),
  () => hostileProxy(new LockstepError('LS_FORBIDDEN')),
  revoked,
  () => ({ [brand]: true }),
  () => ({ [brand]: true, code: 'LS_UNAUTHENTICATED' }),
  () => ({ [brand]: true, code: 'constructor', details: {} }),
  () => new LockstepError('LS_CONNECTION_LOST', { cause: cyclic() }),
]

/** Values that somebody's code may throw: of all the shapes above, errors with a getter that throws, and any others. */
export const thrownValues: fc.Arbitrary<Thrown> = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(...shapes) },
  {
    weight: 2,
    arbitrary: fc.constantFrom(...fields).map((name) => () => withGetter(new Error('with a getter'), name)),
  },
  {
    weight: 1,
    arbitrary: fc.anything({ withBigInt: true, withNullPrototype: true }).map((value) => () => value),
  },
)

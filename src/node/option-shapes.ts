import {
  aboveZero,
  aFlag,
  aFunction,
  aNumber,
  anything,
  aSignal,
  assertOptions,
  aText,
  describeKind,
  isPromise,
  LockstepError,
  nested,
  numberFrom,
  peek,
  required,
  texts,
  withMethods,
  type Expectation,
  type Shape,
} from '../core/index.ts'
import { authShape, revocationShape } from '../auth/index.ts'
import { defaultLimits, type GatewayLimits } from '../gateway/index.ts'
import { monitorShape } from '../monitor/index.ts'
import type { AdmissionLimits, LockstepOptions, RunOptions, TransactionOptions } from './options.ts'
import { databaseExpectation, isPool } from '../postgres/index.ts'
import { rollbackExpectation } from '../transaction/index.ts'
import { rolloutShape } from '../rollout/index.ts'
import { userExpectation } from '../operations/index.ts'

/** Shapes of the options of `createLockstep` and of the methods of an instance. */

const authAdvice = 'Write auth: { secret }, or a function of the token that answers with { user: { id } }.'

const auth: Expectation = {
  ...nested(authShape),
  expected: 'options such as { secret }, or a function',
  fits: (value) =>
    typeof value === 'function' || (typeof value === 'object' && value !== null && !isPromise(value)),
  isSecret: true,
  advice: () => authAdvice,
  inside: (where, value, path) => {
    if (typeof value !== 'function') nested(authShape).inside?.(where, value, path)
  },
}

const bus: Expectation = {
  expected: 'a bus, or false for none',
  fits: (value) => value === false || withMethods('start', 'publish', 'serve', 'follow', 'close').fits(value),
  isSecret: true,
  advice: (value) =>
    value === true
      ? 'For the bus over Postgres leave it out.'
      : 'Write postgresBus(database), redisBus({ publisher, subscriber }), natsBus(connection) or memoryBus().',
}

const forOperators: Expectation = {
  ...nested({ authorize: required(aFunction) }, 'Write { authorize } with a function of the request.'),
}

const limits = Object.fromEntries(Object.keys(defaultLimits).map((name) => [name, aboveZero])) as Record<
  keyof GatewayLimits,
  Expectation
> satisfies Shape<GatewayLimits>

const gateway: Shape<NonNullable<LockstepOptions<never>['gateway']>> = {
  path: aText,
  allowedOrigins: texts,
  limits: nested(limits),
  pingIntervalMs: aboveZero,
  pongTimeoutMs: aboveZero,
  trustProxy: {
    expected: 'false, or how many proxies stand before this server',
    fits: (value) => value === false || typeof value === 'number',
  },
  reauthorizeMs: numberFrom(0),
}

const admission: Shape<AdmissionLimits> = { maxOpen: aNumber, maxOpenPerUser: aNumber, maxWaitMs: aNumber }

const lockstep: Shape<LockstepOptions<never>> = {
  database: databaseExpectation,
  auth,
  onBegin: aFunction,
  logger: withMethods('debug', 'info', 'warn', 'error'),
  clock: withMethods('now', 'monotonic', 'after'),
  gateway: nested(gateway),
  eventRetentionMs: aNumber,
  operationRetentionMs: aNumber,
  leaseMs: aNumber,
  headCheckMs: aNumber,
  unreadableAfterMs: aNumber,
  bus,
  admission: nested(admission),
  rollout: nested(rolloutShape),
  runs: nested<RunOptions>({ concurrency: numberFrom(0) }, 'Write runs: { concurrency: 100 }.'),
  monitor: nested(monitorShape),
  health: forOperators,
  metrics: forOperators,
  dashboard: forOperators,
}

const transaction: Shape<TransactionOptions> = {
  // Has an error of its own, and so has the id.
  name: anything,
  user: userExpectation,
  id: anything,
  repeat: aFlag,
  rollback: rollbackExpectation,
  intent: aFlag,
  timeoutMs: aNumber,
  signal: aSignal,
}

/** @throws LS_CONFIG_INVALID */
export function assertLockstepOptions(options: unknown): void {
  const hint = 'createLockstep({ database: fromPool(pool) })'
  if (isPool(options)) {
    throw new LockstepError('LS_CONFIG_INVALID', {
      message: `createLockstep takes an object of options, and got ${describeKind(options)}. Write ${hint}.`,
    })
  }
  assertOptions('createLockstep', options, lockstep, hint)
}

/** @throws LS_CONFIG_INVALID */
export function assertTransactionOptions(options: unknown): void {
  const name = peek(options, 'name')
  const where =
    typeof name === 'string' && typeof options === 'object' ? `transaction "${name}"` : 'transaction'
  assertOptions(where, options, transaction, 'lockstep.transaction({ name, user }, async (tx) => { … })')
}

/** @throws LS_CONFIG_INVALID */
export function assertRevocation(revocation: unknown): void {
  const user = typeof revocation === 'string' ? JSON.stringify(revocation) : 'id'
  assertOptions('revoke', revocation, revocationShape, `lockstep.revoke({ user: ${user} })`)
}

/** @throws LS_CONFIG_INVALID */
export function assertCloseOptions(options: unknown): void {
  assertOptions<{ readonly drainMs?: number }>(
    'close',
    options,
    { drainMs: numberFrom(0) },
    'lockstep.close({ drainMs })',
  )
}

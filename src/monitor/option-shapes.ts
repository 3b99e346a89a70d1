import {
  aboveZero,
  aFunction,
  aNumber,
  aText,
  nested,
  numberFrom,
  oneOf,
  required,
  valuesOf,
  type Expectation,
  type Shape,
} from '../core/index.ts'
import type { WebhookOptions } from './alert/webhook-options.ts'
import type { AlertOptions } from './alert/alerter.ts'
import { defaultThresholds, type GapKind, type Thresholds } from './model/kinds.ts'
import type { HealthMonitorOptions } from './monitor-options.ts'

/** Shapes of the options of the monitor, for the checks of what an application gives. */

const webhook: Shape<WebhookOptions> = {
  url: required(aText),
  secret: { ...required(aText), isSecret: true },
  headers: valuesOf({ ...aText, isSecret: true }),
  timeoutMs: aNumber,
  retries: aNumber,
  retryBaseMs: aNumber,
  maxWaiting: aNumber,
}

const alerts: Shape<AlertOptions> = { webhook: nested(webhook), onAlert: aFunction }

const atLeastZero = numberFrom(0)

const thresholds = Object.fromEntries(
  Object.keys(defaultThresholds).map((kind) => [kind, atLeastZero]),
) as Record<GapKind, Expectation> satisfies Shape<Thresholds>

type MonitorGiven = Pick<
  HealthMonitorOptions,
  'level' | 'sampleRate' | 'thresholds' | 'windowMinutes' | 'rollupMs' | 'alertBelow' | 'recoverAbove'
> & { readonly alerts?: AlertOptions }

/** Shape of the option `monitor` of `createLockstep`. */
export const monitorShape: Shape<MonitorGiven> = {
  level: oneOf(['off', 'counters', 'sampled', 'full']),
  sampleRate: numberFrom(0, 1),
  thresholds: nested(thresholds),
  windowMinutes: aboveZero,
  rollupMs: aboveZero,
  alertBelow: numberFrom(0, 1),
  recoverAbove: numberFrom(0, 1),
  alerts: nested(alerts),
}

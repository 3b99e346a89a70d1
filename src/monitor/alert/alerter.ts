import { detach, messageOf, type Clock, type Logger } from '../../core/index.ts'
import { AlertWebhook } from './alert-webhook.ts'
import type { WebhookOptions } from './webhook-options.ts'
import type { ViolationKind } from '../model/kinds.ts'
import { DedupWindow } from '../model/dedup-window.ts'

/** Message that an operator should have now. */
export interface Alert {
  /** Each id is sent once, and is the `webhook-id` of every attempt. */
  readonly id: string
  readonly kind: 'score_low' | 'score_recovered' | 'violation'
  /** ISO 8601. */
  readonly at: string
  /** Node that sends the alert. */
  readonly node: string
  readonly score?: number
  readonly windowMinutes?: number
  readonly violation?: {
    readonly kind: ViolationKind
    /** Found since the last alert of this kind. */
    readonly count: number
    /** An example among the operations concerned. */
    readonly operationId?: string
    readonly detail?: string
  }
  /** Text for people. */
  readonly text: string
}

/** Receivers of alerts besides the log. */
export interface AlertOptions {
  readonly webhook?: WebhookOptions
  /** Called with each alert. An error that it throws is logged. */
  readonly onAlert?: (alert: Alert) => void | Promise<void>
}

export interface AlerterOptions extends AlertOptions {
  readonly logger: Logger
  readonly clock: Clock
}

export interface Alerter {
  /** Returns at once and never throws. */
  (alert: Alert): void
  /** Sends what is still counted, and gives the webhook two seconds for what waits. */
  close(): Promise<void>
}

/** Milliseconds between two alerts of one kind of violation; the later one says how many there were since. */
const violationPauseMs = 60_000
const rememberedIds = 4_096
const closeGraceMs = 2_000

/**
 * Takes alerts to the log, a webhook and a callback.
 * @throws LS_CONFIG_INVALID for a webhook that cannot work
 */
export function createAlerter(options: AlerterOptions): Alerter {
  const dispatcher = new AlertDispatcher(options)
  return Object.assign((alert: Alert) => dispatcher.send(alert), { close: () => dispatcher.close() })
}

interface Throttle {
  readonly cancel: () => void
  /** Last alert of the kind, held back. */
  held: Alert | undefined
  count: number
}

class AlertDispatcher {
  readonly #logger: Logger
  readonly #clock: Clock
  readonly #onAlert: AlerterOptions['onAlert']
  readonly #webhook: AlertWebhook | undefined
  /** Ids of score alerts, kept apart so that a flood of violations cannot push them out. */
  readonly #scores = new DedupWindow(rememberedIds)
  readonly #violations = new DedupWindow(rememberedIds)
  readonly #throttles = new Map<ViolationKind, Throttle>()
  #isClosed = false

  constructor(options: AlerterOptions) {
    this.#logger = options.logger
    this.#clock = options.clock
    this.#onAlert = options.onAlert
    if (options.webhook !== undefined) this.#webhook = new AlertWebhook(options.webhook, options)
  }

  send(alert: Alert): void {
    if (this.#isClosed) return
    const { violation } = alert
    if (!(violation === undefined ? this.#scores : this.#violations).add(alert.id)) return
    if (violation === undefined) return this.#deliver(alert)
    const throttle = this.#throttles.get(violation.kind)
    if (throttle === undefined) {
      this.#deliver(alert)
      this.#throttle(violation.kind)
      return
    }
    throttle.held = alert
    throttle.count += violation.count
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    for (const throttle of this.#throttles.values()) {
      throttle.cancel()
      this.#deliverHeld(throttle)
    }
    this.#throttles.clear()
    await this.#webhook?.close(closeGraceMs)
  }

  #throttle(kind: ViolationKind): void {
    const cancel = this.#clock.after(violationPauseMs, () => {
      this.#throttles.delete(kind)
      if (this.#deliverHeld(throttle)) this.#throttle(kind)
    })
    const throttle: Throttle = { cancel, held: undefined, count: 0 }
    this.#throttles.set(kind, throttle)
  }

  #deliverHeld({ held, count }: Throttle): boolean {
    if (held?.violation === undefined) return false
    const text =
      count === 1 ? held.text : `${count} times since the last alert of this kind. The last: ${held.text}`
    this.#deliver({ ...held, violation: { ...held.violation, count }, text })
    return true
  }

  #deliver(alert: Alert): void {
    const { text, ...fields } = alert
    if (alert.kind === 'score_recovered') this.#logger.info(fields, text)
    else this.#logger.error(fields, text)
    const type = `lockstep.${alert.kind}`
    this.#webhook?.send({ id: alert.id, body: JSON.stringify({ type, timestamp: alert.at, data: alert }) })
    if (this.#onAlert !== undefined) detach(this.#call(this.#onAlert, alert), this.#logger, 'onAlert')
  }

  async #call(onAlert: NonNullable<AlertOptions['onAlert']>, alert: Alert): Promise<void> {
    try {
      await onAlert(alert)
    } catch (error) {
      this.#logger.error({ error, alert: alert.id }, `onAlert failed: ${messageOf(error)}`)
    }
  }
}

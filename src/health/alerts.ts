import { detach, messageOf, type Clock, type Logger } from '../core/index.ts'
import { AlertWebhook, type WebhookOptions } from './alert-webhook.ts'
import type { ViolationKind } from './kinds.ts'
import { RecentIds } from './recent-ids.ts'

/** Something an operator should know now. */
export interface Alert {
  /** The same id is told once, and is the `webhook-id` of every attempt. */
  readonly id: string
  readonly kind: 'score_low' | 'score_recovered' | 'violation'
  /** ISO 8601. */
  readonly at: string
  /** The node that tells. */
  readonly node: string
  readonly score?: number
  readonly windowMinutes?: number
  readonly violation?: {
    readonly kind: ViolationKind
    /** Found since the last alert of this kind. */
    readonly count: number
    /** One of them. */
    readonly operationId?: string
    readonly detail?: string
  }
  /** For people. */
  readonly text: string
}

/** Where alerts go besides the log. */
export interface AlertOptions {
  readonly webhook?: WebhookOptions
  /** What it throws is logged. */
  readonly onAlert?: (alert: Alert) => void | Promise<void>
}

export interface AlerterOptions extends AlertOptions {
  readonly logger: Logger
  readonly clock: Clock
}

export interface Alerter {
  /** Returns at once and never throws. */
  (alert: Alert): void
  /** Tells what is still counted, and gives the webhook two seconds for what waits. */
  close(): Promise<void>
}

/** Violations of one kind are told at most this often, with how many there were since. */
const violationPauseMs = 60_000
const rememberedIds = 4_096
const closeGraceMs = 2_000

/**
 * Takes alerts to the log, a webhook and a callback.
 * @throws LS_CONFIG_INVALID for a webhook that cannot work
 */
export function createAlerter(options: AlerterOptions): Alerter {
  const teller = new Teller(options)
  return Object.assign((alert: Alert) => teller.tell(alert), { close: () => teller.close() })
}

interface Silence {
  readonly cancel: () => void
  /** The last one, and how many there were since the kind was told. */
  held: Alert | undefined
  count: number
}

class Teller {
  readonly #options: AlerterOptions
  readonly #webhook: AlertWebhook | undefined
  /** Apart, so that a flood of violations cannot push out the ids of the others. */
  readonly #scores = new RecentIds(rememberedIds)
  readonly #violations = new RecentIds(rememberedIds)
  readonly #silences = new Map<ViolationKind, Silence>()
  #isClosed = false

  constructor(options: AlerterOptions) {
    this.#options = options
    if (options.webhook !== undefined) this.#webhook = new AlertWebhook(options.webhook, options)
  }

  tell(alert: Alert): void {
    if (this.#isClosed) return
    const { violation } = alert
    if (!(violation === undefined ? this.#scores : this.#violations).add(alert.id)) return
    if (violation === undefined) return this.#send(alert)
    const silence = this.#silences.get(violation.kind)
    if (silence === undefined) {
      this.#send(alert)
      this.#beSilent(violation.kind)
      return
    }
    silence.held = alert
    silence.count += violation.count
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    for (const silence of this.#silences.values()) {
      silence.cancel()
      this.#sendHeld(silence)
    }
    this.#silences.clear()
    await this.#webhook?.close(closeGraceMs)
  }

  #beSilent(kind: ViolationKind): void {
    const cancel = this.#options.clock.after(violationPauseMs, () => {
      this.#silences.delete(kind)
      if (this.#sendHeld(silence)) this.#beSilent(kind)
    })
    const silence: Silence = { cancel, held: undefined, count: 0 }
    this.#silences.set(kind, silence)
  }

  #sendHeld({ held, count }: Silence): boolean {
    if (held?.violation === undefined) return false
    const text =
      count === 1 ? held.text : `${count} times since the last alert of this kind. The last: ${held.text}`
    this.#send({ ...held, violation: { ...held.violation, count }, text })
    return true
  }

  #send(alert: Alert): void {
    const { logger, onAlert } = this.#options
    const { text, ...fields } = alert
    if (alert.kind === 'score_recovered') logger.info(fields, text)
    else logger.error(fields, text)
    const type = `lockstep.${alert.kind}`
    this.#webhook?.send({ id: alert.id, body: JSON.stringify({ type, timestamp: alert.at, data: alert }) })
    if (onAlert !== undefined) detach(this.#call(onAlert, alert), logger, 'onAlert')
  }

  async #call(onAlert: NonNullable<AlertOptions['onAlert']>, alert: Alert): Promise<void> {
    try {
      await onAlert(alert)
    } catch (error) {
      this.#options.logger.error({ error, alert: alert.id }, `onAlert failed: ${messageOf(error)}`)
    }
  }
}

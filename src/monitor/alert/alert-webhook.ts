import { pause, waitAtMost, type Clock, type Logger } from '../../core/index.ts'
import { attemptOf, causeOf, type Attempt } from './webhook-attempt.ts'
import { checkedSettings, type WebhookOptions, type WebhookSettings } from './webhook-options.ts'
import { signWebhook, webhookKey } from './webhook-signature.ts'

export interface WebhookMessage {
  /** The same in each attempt, so that the receiver can tell a repeat. */
  readonly id: string
  /** JSON text. */
  readonly body: string
}

export interface WebhookPorts {
  readonly clock: Clock
  readonly logger: Logger
}

const longestPauseMs = 60_000
/** Different reasons that are said in one outage. */
const mostReasons = 8

/**
 * Sends messages to one receiver, one after the other. What it may hold is bounded; an outage is said once when it
 * begins, again for each new reason, and once when it is over.
 */
export class AlertWebhook {
  readonly #settings: WebhookSettings
  readonly #key: Buffer
  readonly #ports: WebhookPorts
  readonly #stop = new AbortController()
  /** The first is being sent. */
  readonly #waiting: WebhookMessage[] = []
  readonly #reasons = new Set<string>()
  #lost = 0
  #sending: Promise<void> | undefined

  /** @throws LS_CONFIG_INVALID */
  constructor(options: WebhookOptions, ports: WebhookPorts) {
    this.#settings = checkedSettings(options)
    this.#key = webhookKey(options.secret)
    this.#ports = ports
  }

  /** Returns at once and never throws. */
  send(message: WebhookMessage): void {
    if (this.#stop.signal.aborted) return
    if (this.#waiting.length >= this.#settings.maxWaiting) {
      // The first may have arrived already: what is dropped is the oldest that has not been tried.
      this.#waiting.splice(1, 1)
      this.#lost += 1
      this.#say(`more than ${this.#settings.maxWaiting} alerts wait; the oldest are dropped`)
    }
    this.#waiting.push(message)
    this.#sending ??= this.#sendAll()
  }

  /** Gives what waits `graceMs`, then lets go of it. */
  async close(graceMs: number): Promise<void> {
    await waitAtMost(this.#ports.clock, graceMs, this.#sending)
    this.#stop.abort()
    await this.#sending
  }

  async #sendAll(): Promise<void> {
    for (let message = this.#waiting[0]; message !== undefined; message = this.#waiting[0]) {
      const taken = await this.#deliver(message)
      if (!taken && this.#stop.signal.aborted) break
      this.#waiting.shift()
      if (taken) this.#recovered()
      else this.#lost += 1
    }
    const left = this.#waiting.length
    this.#waiting.length = 0
    this.#sending = undefined
    if (left > 0) this.#ports.logger.warn({ alerts: left }, 'closed with alerts that were not sent')
  }

  async #deliver(message: WebhookMessage): Promise<boolean> {
    const { retries, retryBaseMs } = this.#settings
    const stop = this.#stop.signal
    for (let retry = 0; ; retry++) {
      const attempt = await this.#attempt(message)
      if (attempt.kind === 'taken') return true
      if (stop.aborted) return false
      this.#say(attempt.kind === 'refused' ? `${attempt.reason}; not tried again` : attempt.reason)
      if (attempt.kind === 'refused' || retry >= retries) return false
      // Half of it is chance, so that nodes that failed together do not come back together.
      const backoffMs = retryBaseMs * 2 ** retry * (0.5 + Math.random() / 2)
      const pauseMs = Math.min(longestPauseMs, Math.max(backoffMs, attempt.retryAfterMs ?? 0))
      await pause(this.#ports.clock, pauseMs, stop)
      if (stop.aborted) return false
    }
  }

  async #attempt({ id, body }: WebhookMessage): Promise<Attempt> {
    const { url, timeoutMs, headers } = this.#settings
    const { clock } = this.#ports
    const timestamp = Math.floor(clock.now() / 1_000)
    const ended = new AbortController()
    const cancel = clock.after(timeoutMs, () => ended.abort())
    try {
      const response = await fetch(url, {
        method: 'POST',
        // A redirect would take the body, and what is signed, to somebody who was not named.
        redirect: 'manual',
        signal: AbortSignal.any([ended.signal, this.#stop.signal]),
        headers: {
          ...headers,
          'content-type': 'application/json',
          'user-agent': 'lockstep',
          'webhook-id': id,
          'webhook-timestamp': `${timestamp}`,
          'webhook-signature': signWebhook(this.#key, { id, timestamp, body }),
        },
        body,
      })
      // The body is not read: it may be of any length.
      await response.body?.cancel()
      return attemptOf(response)
    } catch (error) {
      return {
        kind: 'failed',
        reason: ended.signal.aborted ? `no answer in ${timeoutMs} ms` : causeOf(error),
      }
    } finally {
      cancel()
    }
  }

  #say(reason: string): void {
    if (this.#reasons.has(reason) || this.#reasons.size >= mostReasons) return
    this.#reasons.add(reason)
    // The path may be a secret.
    const receiver = new URL(this.#settings.url).origin
    this.#ports.logger.error({ receiver, reason }, `alerts do not get through to the webhook: ${reason}`)
  }

  #recovered(): void {
    if (this.#reasons.size === 0) return
    this.#reasons.clear()
    const lost = this.#lost
    this.#lost = 0
    this.#ports.logger.info({ lost }, `the webhook takes alerts again; ${lost} were lost`)
  }
}

import {
  LockstepError,
  messageOf,
  peek,
  pause,
  waitAtMost,
  type Clock,
  type Logger,
} from '../../core/index.ts'
import { signWebhook, webhookKey } from './webhook-signature.ts'

export interface WebhookOptions {
  /** Absolute, `http:` or `https:`, without user and password. */
  readonly url: string
  /** `whsec_` and base64 as in Standard Webhooks, or a plain text of at least 16 bytes. */
  readonly secret: string
  /** Headers to send along, such as `Authorization`. They cannot replace those of the signature. */
  readonly headers?: Readonly<Record<string, string>>
  /** Time for one attempt, in milliseconds. Default 5,000. */
  readonly timeoutMs?: number
  /** Attempts after the first. Default 5. */
  readonly retries?: number
  /** Pause before the first retry, in milliseconds; doubled for each further one, with jitter. Default 1,000. */
  readonly retryBaseMs?: number
  /** Messages that may wait; beyond it the oldest is dropped. Default 100. */
  readonly maxWaiting?: number
}

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

type Attempt =
  | { readonly kind: 'taken' }
  | { readonly kind: 'failed'; readonly reason: string; readonly retryAfterMs?: number }
  | { readonly kind: 'refused'; readonly reason: string }

const longestPauseMs = 60_000
/** Different reasons that are said in one outage. */
const mostReasons = 8

/**
 * Sends messages to one receiver, one after the other. What it may hold is bounded; an outage is said once when it
 * begins, again for each new reason, and once when it is over.
 */
export class AlertWebhook {
  readonly #settings: Required<Omit<WebhookOptions, 'secret' | 'headers'>>
  readonly #headers: Readonly<Record<string, string>>
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
    const { secret, headers = {}, ...rest } = options
    this.#settings = { timeoutMs: 5_000, retries: 5, retryBaseMs: 1_000, maxWaiting: 100, ...rest }
    assertUrl(options.url)
    const { timeoutMs, retries, retryBaseMs, maxWaiting } = this.#settings
    assertNumbers({ timeoutMs, retryBaseMs, maxWaiting }, 1)
    assertNumbers({ retries }, 0)
    this.#headers = checkedHeaders(headers)
    this.#key = webhookKey(secret)
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
    const { url, timeoutMs } = this.#settings
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
          ...this.#headers,
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

function attemptOf(response: Response): Attempt {
  const { status } = response
  if (response.ok) return { kind: 'taken' }
  if (status === 429 || status >= 500) {
    const seconds = Number(response.headers.get('retry-after') ?? 0)
    return {
      kind: 'failed',
      reason: `answered ${status}`,
      ...(seconds > 0 ? { retryAfterMs: seconds * 1_000 } : {}),
    }
  }
  if (status >= 300 && status < 400) {
    return { kind: 'refused', reason: `answered ${status}, and redirects are not followed` }
  }
  return { kind: 'refused', reason: `answered ${status}` }
}

/** `fetch failed` says nothing; the code of what lies under it does. */
function causeOf(error: unknown): string {
  const cause = peek(error, 'cause')
  const code = peek(cause, 'code')
  return typeof code === 'string' ? code : messageOf(cause ?? error)
}

function assertUrl(text: string): void {
  const url = parse(text)
  if (
    url === undefined ||
    !['http:', 'https:'].includes(url.protocol) ||
    url.username + url.password !== ''
  ) {
    throw new LockstepError('LS_CONFIG_INVALID', {
      message: "The webhook's url must be absolute, http or https, without user and password.",
    })
  }
}

function parse(text: string): URL | undefined {
  try {
    return new URL(text)
  } catch {
    return undefined
  }
}

function checkedHeaders(headers: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  try {
    return Object.fromEntries(new Headers(headers))
  } catch (cause) {
    throw new LockstepError('LS_CONFIG_INVALID', {
      message: 'A header of the webhook cannot be sent.',
      cause,
    })
  }
}

function assertNumbers(values: Readonly<Record<string, number>>, least: number): void {
  for (const [name, value] of Object.entries(values)) {
    if (Number.isFinite(value) && value >= least) continue
    throw new LockstepError('LS_CONFIG_INVALID', {
      message: `${name} of the webhook must be a number of at least ${least}.`,
    })
  }
}

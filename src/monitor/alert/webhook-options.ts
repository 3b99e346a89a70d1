import { LockstepError } from '../../core/index.ts'

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

/** The options beside the secret, with their defaults. */
export type WebhookSettings = Required<Omit<WebhookOptions, 'secret'>>

/** @throws LS_CONFIG_INVALID */
export function checkedSettings(options: WebhookOptions): WebhookSettings {
  const { url, headers = {}, timeoutMs = 5_000, retries = 5, retryBaseMs = 1_000, maxWaiting = 100 } = options
  assertUrl(url)
  assertNumbers({ timeoutMs, retryBaseMs, maxWaiting }, 1)
  assertNumbers({ retries }, 0)
  return { url, headers: checkedHeaders(headers), timeoutMs, retries, retryBaseMs, maxWaiting }
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

import { createHmac } from 'node:crypto'
import { LockstepError } from '../../core/index.ts'

const encodedPrefix = 'whsec_'
const leastKeyBytes = 16

/**
 * The key of a webhook's secret: `whsec_` and base64 as in Standard Webhooks, or any other text by its UTF-8 bytes.
 * @throws LS_CONFIG_INVALID for fewer than 16 bytes, or for what follows `whsec_` and is not base64
 */
export function webhookKey(secret: string): Buffer {
  const encoded = secret.startsWith(encodedPrefix) ? secret.slice(encodedPrefix.length) : undefined
  const key = encoded === undefined ? Buffer.from(secret) : Buffer.from(encoded, 'base64')
  const isBase64 = encoded === undefined || withoutPadding(key.toString('base64')) === withoutPadding(encoded)
  if (!isBase64 || key.length < leastKeyBytes) {
    throw new LockstepError('LS_CONFIG_INVALID', {
      message: `The webhook's secret must have at least ${leastKeyBytes} bytes: "whsec_" and base64, or plain text.`,
    })
  }
  return key
}

export interface SignedContent {
  readonly id: string
  /** Time of this attempt, in seconds since the epoch. */
  readonly timestamp: number
  readonly body: string
}

/** Value of the header `webhook-signature`. Source: the Standard Webhooks specification, symmetric signatures. */
export function signWebhook(key: Buffer, { id, timestamp, body }: SignedContent): string {
  return `v1,${createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')}`
}

function withoutPadding(base64: string): string {
  return base64.replace(/=+$/, '')
}

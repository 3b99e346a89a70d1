import { limits } from '../protocol/index.ts'

// Characters of a name: ASCII without wildcards, blanks or quotes, so that it means the same to Postgres, Redis and
// NATS, and no two names differ only by Unicode normalisation.
const namePattern = /^(?:[A-Za-z0-9._~@|=+:/-]|%[0-9A-F]{2})+$/

export function isChannelName(value: unknown): value is string {
  return (
    typeof value === 'string' &&
    value.length <= limits.maxChannelBytes &&
    namePattern.test(value) &&
    !value.includes('..')
  )
}

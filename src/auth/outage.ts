import { errorCatalogue, peek, peekList } from '../core/index.ts'
import { databaseErrorCode } from '../postgres/index.ts'

/** Codes of Node and of its `fetch` (undici) for a service that cannot be reached, beside those of a database driver. */
const networkCode = /^(UND_ERR_\w+|ECONNABORTED|ENETDOWN|EHOSTDOWN|EPROTO|EMFILE|ENFILE)$/
/** `AbortSignal.timeout`, and a request that was given up. */
const timeouts: ReadonlySet<unknown> = new Set(['TimeoutError', 'AbortError'])
/** Chains of causes may be circles. */
const mostErrors = 32

/**
 * Whether an error says that something `auth` depends on is away: a database, an identity provider, or whoever publishes
 * the keys. The same token may be good once that is back. ORMs wrap the errors of their driver, and `fetch` has the reason
 * in `cause`, so the whole chain counts.
 */
export function isOutage(thrown: unknown): boolean {
  const chain = new Set([thrown])
  // A set is walked to its end, with what is added on the way.
  for (const error of chain) {
    if (saysOutage(error)) return true
    for (const inner of [peek(error, 'cause'), ...peekList(error, 'errors')]) {
      if (inner !== undefined && chain.size < mostErrors) chain.add(inner)
    }
  }
  return false
}

function saysOutage(error: unknown): boolean {
  const known = databaseErrorCode(error)
  if (known !== undefined && errorCatalogue[known].retryable) return true
  const code = peek(error, 'code')
  if (typeof code === 'string' && networkCode.test(code)) return true
  return timeouts.has(peek(error, 'name')) || peek(error, 'retryable') === true
}

import { messageOf, peek } from '../../core/index.ts'

/** How one attempt at a message ended. */
export type Attempt =
  | { readonly kind: 'taken' }
  | { readonly kind: 'failed'; readonly reason: string; readonly retryAfterMs?: number }
  | { readonly kind: 'refused'; readonly reason: string }

export function attemptOf(response: Response): Attempt {
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
export function causeOf(error: unknown): string {
  const cause = peek(error, 'cause')
  const code = peek(cause, 'code')
  return typeof code === 'string' ? code : messageOf(cause ?? error)
}

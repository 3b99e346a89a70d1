/** The user signed in on this page, and the token that proves it to the server. */

const userKey = 'lockstep-chat:user'
const tokenKey = (user: string): string => `lockstep-chat:token:${user}`
// A token is renewed while it still has this long to live.
const renewBeforeMs = 60_000

/** Names that the server accepts: see `namePattern` there. */
export function isName(text: string): boolean {
  return /^(?!.*\.\.)[A-Za-z0-9._-]{1,32}$/.test(text)
}

/** `?as=ada` signs in by that name for this page alone, so that two users fit into one browser. */
export function pageUser(): { readonly user: string | undefined; readonly fixed: boolean } {
  const as = new URLSearchParams(location.search).get('as')
  if (as !== null && isName(as)) return { user: as, fixed: true }
  return { user: localStorage.getItem(userKey) ?? undefined, fixed: false }
}

export function rememberUser(user: string): void {
  localStorage.setItem(userKey, user)
}

export function forgetUser(user: string): void {
  localStorage.removeItem(userKey)
  localStorage.removeItem(tokenKey(user))
}

/** The stored token, or a new one when there is none, it is about to expire, or `renew` says it was refused. */
export async function tokenFor(user: string, renew = false): Promise<string> {
  const stored = localStorage.getItem(tokenKey(user))
  if (!renew && stored !== null && expiresAt(stored) > Date.now() + renewBeforeMs) return stored
  return signIn(user)
}

/** @throws with a text for the person who typed the name */
export async function signIn(user: string): Promise<string> {
  let response: Response
  try {
    response = await fetch('/demo/login', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ user }),
    })
  } catch {
    throw new Error('The server cannot be reached. Is it running?')
  }
  const answer = (await response.json().catch(() => ({}))) as { token?: string; message?: string }
  if (!response.ok || answer.token === undefined) {
    throw new Error(answer.message ?? `The server answered ${response.status}.`)
  }
  localStorage.setItem(tokenKey(user), answer.token)
  return answer.token
}

function expiresAt(token: string): number {
  try {
    const payload = token.split('.')[1] ?? ''
    const { exp } = JSON.parse(atob(payload.replaceAll('-', '+').replaceAll('_', '/'))) as { exp?: number }
    return exp === undefined ? Infinity : exp * 1000
  } catch {
    return 0
  }
}

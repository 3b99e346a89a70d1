import {
  invalidTokenClose,
  messageTooLargeClose,
  originRefusedClose,
  permissionDeniedClose,
} from '../protocol/index.ts'
import { httpStatus, pageOrigin } from './browser.ts'
import { clientError, type LockstepClientError } from './errors.ts'

/** The client tries again by itself. `missing`: what there is not, where it is more than the connection. */
export function passing(url: string, what: string, cause?: unknown, missing = 'no'): LockstepClientError {
  const message = `${missing} connection to ${url}: ${what} Trying again.`
  return clientError('LS_CLIENT_UNREACHABLE', message, cause)
}

/** A WebSocket that opened, and then brought an error for `connect`, or nothing. */
export function unanswered(
  url: string,
  { code, message }: { readonly code: number; readonly message: string },
): LockstepClientError {
  // Request ids differ between attempts at the same problem.
  const what = `the server is not ready: ${message.replace(/, request .*/, '')} (${code}).`
  return passing(url, code < 100 ? 'it was closed before the server had answered.' : what)
}

/** A WebSocket that did not open. It does not say why, so the same address is asked once over HTTP. */
export async function unopened(url: string): Promise<LockstepClientError> {
  const status = await httpStatus(url.replace(/^ws/, 'http'))
  return passing(url, unopenedWords(status, new URL(url).pathname))
}

/** No attempt follows. `token` is the last one that `getToken` returned; undefined where there is no `getToken`. */
export function final(
  url: string,
  code: number,
  reason: string,
  token: string | undefined,
): LockstepClientError {
  return clientError('LS_CLIENT_REFUSED', `no connection to ${url}: ${finalWords(code, reason, token)}`)
}

function unopenedWords(status: number | undefined, path: string): string {
  if (status === undefined)
    return 'nothing answers there. Is the server running, and are host and port right?'
  if (status === 429 || status === 503)
    return `the server answered ${status}: it takes no more connections now.`
  // 0 is all that a page is shown of an answer from another origin; 426 is that of the gateway to any other request.
  const answer = status === 0 || status === 426 ? ', and not as a WebSocket' : ` ${status}`
  const check =
    status === 426
      ? 'Does the proxy pass Upgrade and Connection?'
      : `Is lockstep.attach(server) called, and does the proxy pass ${path}?`
  return `the server answered${answer}. ${check}`
}

function finalWords(code: number, reason: string, token: string | undefined): string {
  switch (code) {
    case invalidTokenClose:
    case messageTooLargeClose:
      return token === undefined
        ? 'the server does not know who asks. Is the user signed in? Without getToken the server is sent cookies alone.'
        : `the server refused the token. ${tokenWords(token)}`
    case originRefusedClose:
      return `the server refused the page's origin ${pageOrigin()}. Add it to gateway.allowedOrigins.`
    case permissionDeniedClose:
      return 'the server took the rights of this user or session away.'
    default:
      return `the server ended it for good: ${reason} (${code}).`
  }
}

function tokenWords(token: string): string {
  if (/^[\w-]+\.[\w-]+\.[\w-]*$/.test(token)) {
    return "Do the server's auth and what signs the token have the same secret, issuer and audience?"
  }
  const start = JSON.stringify(token.length > 60 ? `${token.slice(0, 60)}…` : token)
  return `getToken returned ${start}, which is no JWT. Does its route answer?`
}

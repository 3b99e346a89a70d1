import { closeCodes } from '../protocol/index.ts'
import { httpStatus, pageOrigin } from './browser.ts'
import { clientError, type LockstepClientError } from './errors.ts'

/** Words of the connection's errors: what happened, and what to check. */
export class ConnectionProblems {
  readonly #url: string

  constructor(url: string) {
    this.#url = url
  }

  /** The client tries again by itself. */
  passing(what: string, cause?: unknown): LockstepClientError {
    return clientError('LS_CLIENT_UNREACHABLE', this.#say(`${what} Trying again.`), cause)
  }

  /** Of a connection that stands, until its token ends. */
  renewal(what: string, cause: unknown): LockstepClientError {
    const text = `the token of the connection to ${this.#url} cannot be renewed: ${what} Trying again.`
    return clientError('LS_CLIENT_UNREACHABLE', text, cause)
  }

  /** Of a WebSocket that opened, and then brought an error for `connect`, or nothing. */
  unanswered({ code, message }: { readonly code: number; readonly message: string }): LockstepClientError {
    // Each attempt has another request id, and is the same problem.
    const what = message.replace(/, request .*/, '')
    return this.passing(
      code < 100
        ? 'it was closed before the server had answered.'
        : `the server is not ready: ${what} (${code}).`,
    )
  }

  /** No attempt follows. `token` is the last one that `getToken` returned. */
  final(code: number, reason: string, token: string): LockstepClientError {
    return clientError('LS_CLIENT_REFUSED', this.#say(finalWords(code, reason, token)))
  }

  /** Of a WebSocket that did not open. It does not say why, so the same address is asked once over HTTP. */
  async unopened(): Promise<LockstepClientError> {
    const status = await httpStatus(this.#url.replace(/^ws/, 'http'))
    return this.passing(unopenedWords(status, new URL(this.#url).pathname))
  }

  #say(what: string): string {
    return `no connection to ${this.#url}: ${what}`
  }
}

function unopenedWords(status: number | undefined, path: string): string {
  if (status === undefined)
    return 'nothing answers there. Is the server running, and are host and port right?'
  if (status === 426) {
    return 'the server is there, and the WebSocket does not come through. Does the proxy pass Upgrade and Connection?'
  }
  if (status === 429 || status === 503)
    return `the server answered ${status}: it takes no more connections now.`
  // 0 is all that a page is shown of an answer from another origin.
  const answer =
    status === 0 ? 'the server answered, and not as a WebSocket.' : `the server answered ${status}.`
  return `${answer} Is lockstep.attach(server) called, and does the proxy pass ${path}?`
}

function finalWords(code: number, reason: string, token: string): string {
  switch (code) {
    case closeCodes.invalidToken:
    case closeCodes.messageTooLarge:
      return `the server refused the token. ${tokenWords(token)}`
    case closeCodes.originRefused:
      return `the server refused the page's origin ${pageOrigin()}. Add it to gateway.allowedOrigins.`
    case closeCodes.permissionDenied:
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

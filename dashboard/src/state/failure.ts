/** Reason why there is no new data, in words that say what to do. */
export interface Failure {
  readonly kind: 'forbidden' | 'unreachable' | 'status' | 'malformed'
  /** Description of the failure, one sentence. */
  readonly what: string
  /** Advice for the reader, one sentence. */
  readonly advice: string
}

export const forbidden: Failure = {
  kind: 'forbidden',
  what: 'You are not admitted to this dashboard.',
  advice: 'It is closed until the option dashboard.authorize of createLockstep lets a request in.',
}

export const malformed: Failure = {
  kind: 'malformed',
  what: 'The answer is not the data of a dashboard.',
  advice:
    'Check that no proxy or sign-in page answers for this address, and that page and server are of one version.',
}

export function unreachable(error: unknown): Failure {
  const timedOut = error instanceof DOMException && error.name === 'TimeoutError'
  return {
    kind: 'unreachable',
    what: timedOut ? 'No answer within 10 seconds.' : 'The server could not be reached.',
    advice: 'Check that the node runs and that this browser is online. The page keeps trying.',
  }
}

/** @param said by the server, where it said something */
export function refused(status: number, said: string): Failure {
  if (status === 401 || status === 403) return forbidden
  const adviceByStatus: Record<number, string> = {
    404: 'Check that the gateway serves /lockstep/ at this address.',
    429: 'Too many requests: close other dashboards, or wait.',
    503: 'The node is stopping or its database is away: see /lockstep/health.',
  }
  return {
    kind: 'status',
    what: `The server answered with status ${status}.`,
    advice: `${said.slice(0, 300)} ${adviceByStatus[status] ?? 'The log of the node says why.'}`.trim(),
  }
}

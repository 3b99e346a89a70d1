/**
 * Errors of connections that ended while nobody waited for an answer: the server says so once
 * (idle_in_transaction_session_timeout,
 * for one), and the statement after it fails with a text of the driver that says nothing.
 */
const endings = new WeakMap<object, Error>()

/** The first error counts: those that follow say only that the connection is gone. */
export function noteEnding(client: object, error: Error): void {
  if (!endings.has(client)) endings.set(client, error)
}

export function whyEnded(client: object): Error | undefined {
  return endings.get(client)
}

/** Tells when to send a command again that was refused as too much, as a text that ends an error's message. */
export function retryHint(retryAfterMs: number): string {
  return `Retry after ${retryAfterMs} ms.`
}

/** Milliseconds, as `retryHint` wrote them; undefined where there is no hint. */
export function retryAfterMsOf(message: string): number | undefined {
  const found = /Retry after (\d{1,6}) ms\.$/.exec(message)?.[1]
  return found === undefined ? undefined : Number(found)
}

// A message waits this long for the one before it; a transaction that is held open must not hold up the rest.
const patienceMs = 1500

/**
 * Sends one after another in each conversation. Two operations that are called at once may commit in either order,
 * and a person who sends two lines expects them in the order they were written.
 */
export class SendQueue {
  readonly #lanes = new Map<string, Promise<unknown>>()
  readonly #isConnected: () => boolean

  constructor(isConnected: () => boolean) {
    this.#isConnected = isConnected
  }

  /** @param send resolves when the message is settled, and never rejects */
  add(conversationId: string, send: () => Promise<unknown>): void {
    const before = this.#lanes.get(conversationId) ?? Promise.resolve()
    this.#lanes.set(
      conversationId,
      before.then(() => Promise.race([send(), this.#patience()])),
    )
  }

  /** Time counts only while there is a connection: offline, everything waits behind the first. */
  async #patience(): Promise<void> {
    let wasConnected: boolean
    do {
      wasConnected = this.#isConnected()
      await new Promise((resolve) => setTimeout(resolve, patienceMs))
    } while (!wasConnected || !this.#isConnected())
  }
}

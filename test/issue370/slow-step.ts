import { within } from './within.ts'

interface Held {
  /** Resolves when the operation is in its slow step: all its statements so far are done, and nothing is committed. */
  readonly reached: Promise<void>
  readonly release: () => void
}

interface Hold {
  reach(): void
  readonly released: Promise<void>
}

/**
 * The slow step in the middle of an application's transaction, such as a question to a model or a call of another
 * service. Scenarios hold an operation there for as long as they look around.
 */
export class SlowStep {
  readonly #holds = new Map<string, Hold>()

  /** Called by the application. */
  async run(text: string): Promise<void> {
    const hold = this.#holds.get(text)
    if (hold === undefined) return
    hold.reach()
    await within(hold.released, `the release of "${text}"`)
  }

  hold(text: string): Held {
    let [reach, release] = [(): void => {}, (): void => {}]
    const reached = new Promise<void>((resolve) => (reach = resolve))
    const released = new Promise<void>((resolve) => (release = resolve))
    this.#holds.set(text, { reach, released })
    return {
      reached: within(reached, `"${text}" to reach its slow step`),
      release: () => {
        this.#holds.delete(text)
        release()
      },
    }
  }
}

import { within } from './within.ts'

interface Held {
  /** The operation stands in its slow step: what it did so far is done, and nothing is committed. */
  readonly reached: Promise<void>
  readonly release: () => void
}

interface Hold {
  reach(): void
  readonly released: Promise<void>
}

/**
 * What applications do in the middle of a transaction although it takes its time: ask a model, call another service.
 * Scenarios hold an operation there for as long as they look around.
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

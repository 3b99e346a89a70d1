const patienceMs = 15_000

/** Fails instead of waiting for ever. @throws Error naming what did not come */
export async function within<T>(waiting: Promise<T>, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${patienceMs / 1_000} s for ${what}`)), patienceMs)
  })
  try {
    return await Promise.race([waiting, late])
  } finally {
    clearTimeout(timer)
  }
}

/** Items that arrive from outside, and callers that wait until there are enough. */
export class Arrivals<Item> {
  readonly items: Item[] = []
  #waiting: (() => void)[] = []

  add(item: Item): void {
    this.items.push(item)
    for (const look of this.#waiting) look()
  }

  /** @throws Error naming what did not come */
  async until(condition: (items: readonly Item[]) => boolean, what: string): Promise<void> {
    if (condition(this.items)) return
    let look = (): void => {}
    const holds = new Promise<void>((resolve) => {
      look = () => {
        if (condition(this.items)) resolve()
      }
      this.#waiting.push(look)
    })
    try {
      await within(holds, what)
    } finally {
      this.#waiting = this.#waiting.filter((one) => one !== look)
    }
  }
}

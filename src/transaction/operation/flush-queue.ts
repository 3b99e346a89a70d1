import type { Clock } from '../../core/index.ts'
import type { PendingEvent } from '../../postgres/index.ts'

/** Flushes of one channel that are under way at once: one that has its head locked, and the next. */
const width = 2
/**
 * Longest wait here, in milliseconds. A transaction that waits holds its locks, and one that is in its COMMIT may need
 * them for a deferred constraint or trigger. The database finds such a circle, and sees all of it only then.
 */
const longestWaitMs = 250

interface Line {
  underWay: number
  readonly waiting: (() => void)[]
}

/**
 * Queue in which this node's flushes of one channel wait for each other. The head of a channel is locked from the flush
 * to the
 * end of COMMIT, so they come one after the other anyway; but whoever waits for the lock is a process of Postgres that
 * is put to sleep, queues twice and is woken, while here it costs nothing.
 */
export class FlushQueue {
  readonly #clock: Clock
  readonly #lines = new Map<string, Line>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Commits in turn where the events are of one channel. A wait for several would hold some of them meanwhile. */
  async inTurn<T>(events: readonly PendingEvent[], commit: () => Promise<T>): Promise<T> {
    const channel = events[0]?.channel
    if (channel === undefined || events.some((event) => event.channel !== channel)) return commit()
    const turn = this.enter(channel)
    if (turn !== undefined) await turn
    try {
      return await commit()
    } finally {
      this.leave(channel)
    }
  }

  /** Every `enter` needs its `leave`. Undefined: it may go on at once. */
  enter(channel: string): Promise<void> | undefined {
    const line = this.#lines.get(channel)
    if (line === undefined) {
      this.#lines.set(channel, { underWay: 1, waiting: [] })
      return undefined
    }
    if (line.underWay < width) {
      line.underWay += 1
      return undefined
    }
    return new Promise((resolve) => {
      const goOn = (): void => {
        cancel()
        line.underWay += 1
        resolve()
      }
      const cancel = this.#clock.after(longestWaitMs, () => {
        line.waiting.splice(line.waiting.indexOf(goOn), 1)
        goOn()
      })
      line.waiting.push(goOn)
    })
  }

  leave(channel: string): void {
    const line = this.#lines.get(channel)
    if (line === undefined) return
    line.underWay -= 1
    if (line.underWay < width) line.waiting.shift()?.()
    if (line.underWay === 0) this.#lines.delete(channel)
  }
}

import type { Notice } from '../protocol/index.ts'
import { Listeners, type ErrorListener, type Off } from './listeners.ts'

/** How many transaction ids are remembered in order to report none twice. */
const remembered = 1_000

/** Rollbacks of the signed-in user's operations, also of those asked for elsewhere. */
export interface Notices {
  /** Each rolled back transaction once, however many ways the news arrives. */
  on(listener: (notice: Notice) => void): Off
  /** Notices were missed that the server no longer keeps, after being away for long. */
  onReset(listener: () => void): Off
}

export class NoticeBoard implements Notices {
  readonly #listeners: Listeners<[Notice]>
  readonly #resets: Listeners<[]>
  readonly #reported = new Set<string>()

  readonly #onListener: () => void

  /** @param onListener called after somebody began to listen */
  constructor(onError: ErrorListener, onListener: () => void) {
    this.#onListener = onListener
    this.#listeners = new Listeners(onError)
    this.#resets = new Listeners(onError)
  }

  get isHeard(): boolean {
    return this.#listeners.size > 0
  }

  on(listener: (notice: Notice) => void): Off {
    const off = this.#listeners.add(listener)
    queueMicrotask(this.#onListener)
    return off
  }

  onReset(listener: () => void): Off {
    return this.#resets.add(listener)
  }

  report(notice: Notice): void {
    // Not marked as reported while nobody listens: the same news may come again when somebody does.
    if (!this.isHeard || this.#reported.has(notice.transactionId)) return
    this.#reported.add(notice.transactionId)
    const [oldest] = this.#reported
    if (this.#reported.size > remembered && oldest !== undefined) this.#reported.delete(oldest)
    this.#listeners.emit(notice)
  }

  reset(): void {
    this.#resets.emit()
  }
}

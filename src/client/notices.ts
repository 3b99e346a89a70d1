import type { Notice } from '../protocol/index.ts'
import { Listeners, type ErrorListener, type Off } from './listeners.ts'
import { RecentIds } from './recent-ids.ts'

/** Rollbacks of the signed-in user's operations, also of those asked for elsewhere. */
export interface Notices {
  /** Each rolled back transaction once, however many ways the news arrives, also over a reload of the page. */
  on(listener: (notice: Notice) => void): Off
  /** Notices were missed that the server no longer keeps, after being away for long. */
  onReset(listener: () => void): Off
}

interface NoticeBoardOptions {
  readonly onError: ErrorListener
  /** Called after somebody began to listen. */
  readonly onListener: () => void
  /** Called with the transaction's id, before the listeners are. */
  readonly onTell: (transactionId: string) => void
}

export class NoticeBoard implements Notices {
  readonly #options: NoticeBoardOptions
  readonly #listeners: Listeners<[Notice]>
  readonly #resets: Listeners<[]>
  readonly #told = new RecentIds()

  constructor(options: NoticeBoardOptions) {
    this.#options = options
    this.#listeners = new Listeners(options.onError)
    this.#resets = new Listeners(options.onError)
  }

  get isHeard(): boolean {
    return this.#listeners.size > 0
  }

  on(listener: (notice: Notice) => void): Off {
    const off = this.#listeners.add(listener)
    queueMicrotask(this.#options.onListener)
    return off
  }

  onReset(listener: () => void): Off {
    return this.#resets.add(listener)
  }

  report(notice: Notice): void {
    const id = notice.transactionId
    // Not marked as told while nobody listens: the same news may come again when somebody does.
    if (!this.isHeard || this.#told.has(id)) return
    this.#told.add(id)
    this.#options.onTell(id)
    this.#listeners.emit(notice)
  }

  /** An earlier page has told it. */
  silence(transactionId: string): void {
    this.#told.add(transactionId)
  }

  reset(): void {
    this.#resets.emit()
  }
}

import type { Notice } from '../protocol/index.ts'
import { Listeners, type ErrorListener, type Off } from './listeners.ts'
import { RecentIds } from './recent-ids.ts'
import type { ShownNotices } from './shown-notices.ts'

/** Rollbacks of the signed-in user's operations, also of those asked for elsewhere. */
export interface Notices {
  /** Hears of each rolled back transaction once, however many ways the news arrives, also over a reload of the page. */
  on(listener: (notice: Notice) => void): Off
  /** Notices were missed that the server no longer keeps, after being away for long. */
  onReset(listener: () => void): Off
}

interface NoticeBoardOptions {
  readonly onError: ErrorListener
  /** Called when a listener was added. */
  readonly onListener: () => void
  /** Keeps ids of shown notices for the next page. */
  readonly stored: ShownNotices
}

export class NoticeBoard implements Notices {
  readonly #options: NoticeBoardOptions
  readonly #listeners: Listeners<[Notice]>
  readonly #resets: Listeners<[]>
  readonly #shown = new RecentIds()

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
    // Leave the notice unmarked while nobody listens: it may come again when somebody does.
    if (!this.isHeard || this.#shown.has(id)) return
    this.#shown.add(id)
    this.#options.stored.add(id)
    this.#listeners.emit(notice)
  }

  /** Marks a notice that an earlier page has shown. */
  markShown(transactionId: string): void {
    this.#shown.add(transactionId)
  }

  reset(): void {
    this.#resets.emit()
  }
}

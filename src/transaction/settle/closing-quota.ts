import { mutationPoint } from '../../protocol/mutation-point.ts'
import type { Clock } from '../../core/index.ts'

export interface ClosingQuotaLimits {
  /** Ids that one user may have closed at once. */
  readonly burst: number
  /** Ids a second that one user may have closed in the long run. */
  readonly perSecond: number
}

interface Account {
  left: number
  countedAt: number
}

/**
 * Bound of the users remembered: beyond it the user who asked the longest ago is forgotten, which gives them a full
 * burst again.
 */
const mostUsers = 10_000

/** How many unheard ids each user may have closed, over all of their sockets on this node: each is a row. */
export class ClosingQuota {
  readonly #clock: Clock
  readonly #burst: number
  readonly #perSecond: number
  /** The last to ask stands last. */
  readonly #accounts = new Map<string, Account>()

  constructor(clock: Clock, { burst, perSecond }: ClosingQuotaLimits) {
    this.#clock = clock
    this.#burst = burst
    this.#perSecond = perSecond
  }

  /** Takes as many as there are, and answers how many those were. */
  take(userId: string, wanted: number): number {
    if (wanted === 0) return 0
    const account = this.#accountOf(userId)
    if (mutationPoint('any number of unheard ids closed')) return wanted
    const taken = Math.min(wanted, Math.floor(account.left))
    account.left -= taken
    return taken
  }

  /** Returns permissions that were taken and could not be used. */
  giveBack(userId: string, count: number): void {
    const account = this.#accounts.get(userId)
    if (account !== undefined) account.left = Math.min(this.#burst, account.left + count)
  }

  /** Milliseconds until the user may have so many closed that were refused just now. */
  waitMs(count: number): number {
    return Math.ceil((Math.min(count, this.#burst) / this.#perSecond) * 1_000)
  }

  #accountOf(userId: string): Account {
    const now = this.#clock.monotonic()
    const known = this.#accounts.get(userId)
    const earned = known === undefined ? this.#burst : ((now - known.countedAt) / 1_000) * this.#perSecond
    const account = { left: Math.min(this.#burst, (known?.left ?? 0) + earned), countedAt: now }
    this.#accounts.delete(userId)
    this.#accounts.set(userId, account)
    if (this.#accounts.size > mostUsers) {
      for (const oldest of this.#accounts.keys()) {
        this.#accounts.delete(oldest)
        break
      }
    }
    return account
  }
}

import type { UserStorage } from './user-storage.ts'

/** Name in the user's storage. No operation id, so that it is not taken for an operation. */
const name = 'notices'
const keepAtMost = 200
/** News of one rollback comes within moments. A notice reported from memory is remembered for longer, with its operation. */
const keepForMs = 10 * 60 * 1_000

type ShownNotice = readonly [transactionId: string, shownAt: number]

/** Notices that pages of this user have shown, so that the next page does not show them again. */
export class ShownNotices {
  readonly #storage: UserStorage

  constructor(storage: UserStorage) {
    this.#storage = storage
  }

  ids(): readonly string[] {
    return this.#recent().map(([id]) => id)
  }

  add(transactionId: string): void {
    // Read anew: other tabs write here too.
    const others = this.#recent().filter(([id]) => id !== transactionId)
    this.#storage.write(name, [...others, [transactionId, Date.now()]].slice(-keepAtMost))
  }

  #recent(): readonly ShownNotice[] {
    const stored = this.#storage.read(name)
    return Array.isArray(stored) ? stored.filter(isRecent) : []
  }
}

/** Tells whether an entry is recent; false also far in the future, where a clock that was put back leaves some behind. */
function isRecent(entry: unknown): entry is ShownNotice {
  const [id, shownAt] = Array.isArray(entry) ? (entry as unknown[]) : []
  return typeof id === 'string' && typeof shownAt === 'number' && Math.abs(Date.now() - shownAt) < keepForMs
}

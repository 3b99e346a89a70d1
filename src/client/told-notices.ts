import type { UserStorage } from './user-storage.ts'

/** Where in the user's storage they stand. No operation id, so that it is not taken for an operation. */
const name = 'notices'
const keepAtMost = 200
/** News of one rollback comes within moments. One told from memory is remembered for longer, with its operation. */
const keepForMs = 10 * 60 * 1_000

type Told = readonly [transactionId: string, toldAt: number]

/** Notices that pages of this user have shown, so that the next page does not show them again. */
export class ToldNotices {
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

  #recent(): readonly Told[] {
    const stored = this.#storage.read(name)
    return Array.isArray(stored) ? stored.filter(isRecent) : []
  }
}

/** Also false for what lies far in the future, which a clock that was put back leaves behind. */
function isRecent(entry: unknown): entry is Told {
  const [id, toldAt] = Array.isArray(entry) ? (entry as unknown[]) : []
  return typeof id === 'string' && typeof toldAt === 'number' && Math.abs(Date.now() - toldAt) < keepForMs
}

import { onPageEvent } from './browser.ts'
import { disregard } from './detach.ts'
import { isOperationId } from './operation-id.ts'
import { TabOwnership } from './tab-ownership.ts'
import type { UserStorage } from './user-storage.ts'

/** Memory of an operation until its outcome was heard. */
export interface StoredOperation {
  readonly id: string
  readonly name: string
  readonly input: unknown
  /** Milliseconds since the epoch, by this device's clock. */
  readonly startedAt: number
}

interface Entry extends StoredOperation {
  /** Id of the tab that answers for it; empty once that tab let go of it. */
  readonly owner: string
  readonly seenAt: number
  /** True when its rollback was reported from memory and only its id is to be closed. Kept without its input. */
  readonly told?: true | undefined
}

export type TakenOperation = StoredOperation & Pick<Entry, 'told'>

interface StoredOperationsOptions {
  readonly storage: UserStorage
  readonly rememberForMs: number
  /** Called when another tab let go of operations of this user. */
  readonly onAbandoned: () => void
}

/**
 * Operations in a storage that outlives the page, one key each, so that tabs never overwrite each other's. Where
 * the storage fails the page remembers in memory only.
 */
export class StoredOperations {
  readonly #storage: UserStorage
  readonly #rememberForMs: number
  readonly #tab: TabOwnership
  /** Owners that the entries name, by id: another tab, where the storage had no room to say that it is this one. */
  readonly #mine = new Map<string, string | undefined>()
  readonly #stopListening: readonly (() => void)[]
  #isClosed = false

  constructor({ storage, rememberForMs, onAbandoned }: StoredOperationsOptions) {
    this.#storage = storage
    this.#rememberForMs = rememberForMs
    this.#tab = new TabOwnership(() => {
      this.#rewriteMine(this.#tab.id)
    })
    this.#stopListening = [
      onPageEvent('pagehide', () => {
        this.#rewriteMine('')
      }),
      // The page came back from the back/forward cache.
      onPageEvent('pageshow', () => {
        this.#rewriteMine(this.#tab.id)
      }),
      onPageEvent('storage', ({ key, newValue }) => {
        if (storage.owns(key) && newValue?.includes('"owner":""') === true) onAbandoned()
      }),
    ]
  }

  /** Tells whether an entry stands here, from whatever page. */
  has(id: string): boolean {
    return this.#read(id) !== undefined
  }

  /** Resolves when it is safe to send: no other tab will take the operation for abandoned. */
  async save({ id, name, input, startedAt }: StoredOperation): Promise<void> {
    await this.#claim({ id, name, input, startedAt })
  }

  remove(id: string): void {
    this.#storage.remove(id)
    this.#drop(id)
  }

  /** Keeps the id until a server has closed it, for a later page if need be. */
  markReported({ id, name, startedAt }: StoredOperation): void {
    // Remove the entry first: should there be no room to write, it is better forgotten than told again.
    this.#storage.remove(id)
    // Ignored when refused: the id is asked for again by the page that still has it.
    disregard(this.#claim({ id, name, input: undefined, startedAt, told: true }))
  }

  /** Ids whose rollback pages of this user have told. */
  reportedIds(): readonly string[] {
    return this.#entries().flatMap(({ id, told }) => (told === true ? [id] : []))
  }

  /** Tells whether this tab still answers for it. Where two tabs took over the same one, it is the last one's. */
  isMine(id: string): boolean {
    const owner = this.#read(id)?.owner
    const mine = owner !== undefined && owner === this.#mine.get(id)
    if (!mine) this.#drop(id)
    return mine
  }

  /**
   * Takes over the operations whose tab is gone.
   * @returns the operations taken over, and whether operations of living tabs remain
   */
  async takeOver(): Promise<{ readonly taken: readonly TakenOperation[]; readonly others: boolean }> {
    const forgotten = Date.now() - this.#rememberForMs
    for (const { id, startedAt } of this.#entries()) if (startedAt < forgotten) this.remove(id)
    const foreign = this.#entries().filter(({ id }) => !this.#mine.has(id))
    if (foreign.length === 0) return { taken: [], others: false }
    // Fall back to the signs of life where the locks are refused, as in a sandboxed frame, or missing.
    const liveTabs = await this.#tab.liveTabs().catch(() => undefined)
    // Leave out operations called here meanwhile: they are this tab's already.
    const left = this.#isClosed ? [] : foreign.filter(({ id }) => !this.#mine.has(id))
    const taken = left.filter(({ owner, seenAt }) => this.#tab.isGone(owner, seenAt, liveTabs))
    await Promise.all(taken.map((entry) => this.#claim(entry)))
    return { taken, others: taken.length < left.length }
  }

  /** Leaves what has no outcome yet to the next client of this user. */
  close(): void {
    this.#isClosed = true
    for (const stop of this.#stopListening) stop()
    this.#rewriteMine('')
    this.#mine.clear()
    this.#tab.letGo()
  }

  #drop(id: string): void {
    this.#mine.delete(id)
    if (this.#mine.size === 0) this.#tab.letGo()
  }

  async #claim(entry: Omit<Entry, 'owner' | 'seenAt'>): Promise<void> {
    if (!this.#storage.isOpen) return
    // Leave the entry to the next client, like the rest, when a listener has just closed this one.
    this.#write(entry, this.#isClosed ? '' : this.#tab.id)
    if (!this.#isClosed) await this.#tab.hold()
  }

  #rewriteMine(owner: string): void {
    for (const [id, known] of this.#mine) {
      const entry = this.#read(id)
      // An entry with another owner has been taken over by another tab.
      if (entry !== undefined && entry.owner === known) this.#write(entry, owner)
    }
  }

  #write(entry: Omit<Entry, 'owner' | 'seenAt'>, owner: string): void {
    this.#storage.write(entry.id, { ...entry, owner, seenAt: Date.now() })
    this.#mine.set(entry.id, this.#read(entry.id)?.owner)
  }

  #entries(): readonly Entry[] {
    return this.#storage
      .names()
      .map((name) => this.#read(name))
      .filter((entry) => entry !== undefined)
  }

  #read(key: string): Entry | undefined {
    const entry = Object(this.#storage.read(key)) as Partial<Entry>
    const { id, name, input, owner = '', seenAt = 0, startedAt = 0, told } = entry
    // Entries may have been written by any code of the page; the key must name the operation, or `remove` would miss
    // it.
    if (!isOperationId(id) || typeof name !== 'string' || id !== key) return undefined
    return { id, name, input, owner, seenAt, startedAt, told }
  }
}

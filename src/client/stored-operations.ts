import { onPageEvent } from './browser.ts'
import { isOperationId } from './operation-id.ts'
import { TabOwnership } from './tab-ownership.ts'
import type { UserStorage } from './user-storage.ts'

/** What is remembered of an operation until its outcome was heard. */
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
  /** Its rollback was told from memory; what is left is to have its id closed. Kept without its input. */
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
  readonly #mine = new Set<string>()
  /** Owner that the entry still names, of what this tab answers for without room in the storage to say so. */
  readonly #unwritten = new Map<string, string>()
  readonly #stopListening: readonly (() => void)[]

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

  /** Whether it stands here, from whatever page. */
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
  markTold({ id, name, startedAt }: StoredOperation): void {
    // Removed first: should there be no room to write, it is better forgotten than told again.
    this.#storage.remove(id)
    void this.#claim({ id, name, input: undefined, startedAt, told: true })
  }

  /** Those whose rollback pages of this user have told. */
  toldIds(): readonly string[] {
    return this.#entries().flatMap(({ id, told }) => (told === true ? [id] : []))
  }

  /** Whether this tab still answers for it. Where two tabs took over the same one, it is the last one's. */
  isMine(id: string): boolean {
    const owner = this.#read(id)?.owner
    const mine = owner !== undefined && (owner === this.#tab.id || owner === this.#unwritten.get(id))
    if (!mine) this.#drop(id)
    return mine
  }

  /**
   * Takes over the operations whose tab is gone.
   * @returns those, and whether operations of living tabs remain
   */
  async takeOver(): Promise<{ readonly taken: readonly TakenOperation[]; readonly others: boolean }> {
    const entries = this.#entries()
    const forgotten = Date.now() - this.#rememberForMs
    for (const { id, startedAt } of entries) if (startedAt < forgotten) this.remove(id)
    const foreign = entries.filter(({ id, startedAt }) => !this.#mine.has(id) && startedAt >= forgotten)
    if (foreign.length === 0) return { taken: [], others: false }
    const liveTabs = await this.#tab.liveTabs()
    // Called here meanwhile: it is this tab's already, and as it stands now.
    const left = foreign.filter(({ id }) => !this.#mine.has(id))
    const taken = left.filter(({ owner, seenAt }) => this.#tab.isGone(owner, seenAt, liveTabs))
    await Promise.all(taken.map((entry) => this.#claim(entry)))
    return { taken, others: taken.length < left.length }
  }

  /** Leaves what has no outcome yet to the next client of this user. */
  close(): void {
    for (const stop of this.#stopListening) stop()
    this.#rewriteMine('')
    this.#mine.clear()
    this.#tab.letGo()
  }

  #drop(id: string): void {
    this.#mine.delete(id)
    this.#unwritten.delete(id)
    if (this.#mine.size === 0) this.#tab.letGo()
  }

  async #claim(entry: Omit<Entry, 'owner' | 'seenAt'>): Promise<void> {
    if (!this.#storage.isOpen) return
    this.#mine.add(entry.id)
    const isWritten = this.#storage.write(entry.id, { ...entry, owner: this.#tab.id, seenAt: Date.now() })
    const owner = isWritten ? undefined : this.#read(entry.id)?.owner
    if (owner === undefined) this.#unwritten.delete(entry.id)
    else this.#unwritten.set(entry.id, owner)
    await this.#tab.hold()
  }

  #rewriteMine(owner: string): void {
    for (const id of this.#mine) {
      const entry = this.#read(id)
      const untouched = entry?.owner === this.#tab.id || entry?.owner === ''
      if (entry !== undefined && untouched) {
        this.#storage.write(id, { ...entry, owner, seenAt: Date.now() })
      }
    }
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
    // Anything may have written here; the key must name the operation, or removing it would miss.
    if (!isOperationId(id) || typeof name !== 'string' || id !== key) return undefined
    return { id, name, input, owner, seenAt, startedAt, told }
  }
}

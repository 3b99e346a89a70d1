import { onPageEvent, type OperationStorage } from './browser.ts'
import { isOperationId } from './operation-id.ts'
import { TabOwnership } from './tab-ownership.ts'

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
}

interface StoredOperationsOptions {
  readonly storage: OperationStorage | undefined
  /** First part of the keys. */
  readonly space: string
  readonly rememberForMs: number
  /** Called when another tab let go of operations of this user. */
  readonly onAbandoned: () => void
}

/**
 * Operations in a storage that outlives the page, one key each, so that tabs never overwrite each other's. Keys
 * carry the user, so that nobody asks for another user's operations. A storage that fails (quota, privacy
 * settings) is as good as none: the page then remembers in memory only.
 */
export class StoredOperations {
  readonly #storage: OperationStorage | undefined
  readonly #space: string
  readonly #rememberForMs: number
  readonly #tab: TabOwnership
  readonly #mine = new Set<string>()
  readonly #stopListening: readonly (() => void)[]
  #prefix: string | undefined

  constructor({ storage, space, rememberForMs, onAbandoned }: StoredOperationsOptions) {
    this.#storage = storage
    this.#space = space
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
        const isOurs = this.#prefix !== undefined && key?.startsWith(this.#prefix) === true
        if (isOurs && newValue?.includes('"owner":""') === true) onAbandoned()
      }),
    ]
  }

  /** From now on this user's operations are read and written. Until then nothing is stored. */
  open(user: string): void {
    this.#prefix = `${this.#space}:${encodeURIComponent(user)}:`
  }

  /** Resolves when it is safe to send: no other tab will take the operation for abandoned. */
  async save(operation: StoredOperation): Promise<void> {
    if (this.#storage === undefined || this.#prefix === undefined) return
    const { id, name, input, startedAt } = operation
    this.#mine.add(id)
    this.#write({ id, name, input, startedAt, owner: this.#tab.id, seenAt: Date.now() })
    await this.#tab.hold()
  }

  remove(id: string): void {
    this.#attempt((storage) => {
      storage.removeItem(this.#key(id))
    })
    this.#drop(id)
  }

  /** Whether this tab still answers for it. Where two tabs took over the same one, it is the last one's. */
  isMine(id: string): boolean {
    const mine = this.#read(this.#key(id))?.owner === this.#tab.id
    if (!mine) this.#drop(id)
    return mine
  }

  /**
   * Takes over the operations whose tab is gone.
   * @returns those, and whether operations of living tabs remain
   */
  async takeOver(): Promise<{ readonly taken: readonly StoredOperation[]; readonly others: boolean }> {
    const entries = this.#entries()
    const forgotten = Date.now() - this.#rememberForMs
    for (const { id, startedAt } of entries) if (startedAt < forgotten) this.remove(id)
    const foreign = entries.filter(({ id, startedAt }) => !this.#mine.has(id) && startedAt >= forgotten)
    if (foreign.length === 0) return { taken: [], others: false }
    const liveTabs = await this.#tab.liveTabs()
    const taken = foreign.filter(({ owner, seenAt }) => this.#tab.isGone(owner, seenAt, liveTabs))
    await Promise.all(taken.map((entry) => this.save(entry)))
    return { taken, others: taken.length < foreign.length }
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
    if (this.#mine.size === 0) this.#tab.letGo()
  }

  #rewriteMine(owner: string): void {
    for (const id of this.#mine) {
      const entry = this.#read(this.#key(id))
      const untouched = entry?.owner === this.#tab.id || entry?.owner === ''
      if (entry !== undefined && untouched) this.#write({ ...entry, owner, seenAt: Date.now() })
    }
  }

  #entries(): readonly Entry[] {
    const prefix = this.#prefix
    if (prefix === undefined) return []
    const keys = this.#attempt((storage) =>
      Array.from({ length: storage.length }, (_, index) => storage.key(index)),
    )
    const entries = (keys ?? []).map((key) =>
      key?.startsWith(prefix) === true ? this.#read(key) : undefined,
    )
    return entries.filter((entry) => entry !== undefined)
  }

  #read(key: string): Entry | undefined {
    const text = this.#attempt((storage) => storage.getItem(key))
    if (typeof text !== 'string') return undefined
    try {
      const entry = JSON.parse(text) as Partial<Entry> | null
      const { id, name, owner = '', seenAt = 0, startedAt = 0 } = entry ?? {}
      // Anything may have written here; the key must name the operation, or removing it would miss.
      if (!isOperationId(id) || typeof name !== 'string' || this.#key(id) !== key) return undefined
      return { id, name, input: entry?.input, owner, seenAt, startedAt }
    } catch {
      return undefined
    }
  }

  #write(entry: Entry): void {
    this.#attempt((storage) => {
      storage.setItem(this.#key(entry.id), JSON.stringify(entry))
    })
  }

  #key(id: string): string {
    return `${this.#prefix ?? ''}${id}`
  }

  #attempt<Result>(use: (storage: OperationStorage) => Result): Result | undefined {
    if (this.#storage === undefined || this.#prefix === undefined) return undefined
    try {
      return use(this.#storage)
    } catch {
      return undefined
    }
  }
}

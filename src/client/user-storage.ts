import type { OperationStorage } from './browser.ts'

/**
 * Part of a persistent storage that belongs to one user: values as JSON, under keys that carry the user, so that no
 * user reads the values of another. A storage that fails (quota, privacy settings) counts as empty.
 */
export class UserStorage {
  readonly #storage: OperationStorage | undefined
  readonly #space: string
  #prefix: string | undefined

  /** @param space first part of the keys */
  constructor(storage: OperationStorage | undefined, space: string) {
    this.#storage = storage
    this.#space = space
  }

  /** Reads and writes this user's values from now on. Until then nothing is kept. */
  open(user: string): void {
    this.#prefix = `${this.#space}:${encodeURIComponent(user)}:`
  }

  get isOpen(): boolean {
    return this.#storage !== undefined && this.#prefix !== undefined
  }

  /** Tells whether a key of the storage is this user's. */
  owns(key: string | null | undefined): boolean {
    return this.#prefix !== undefined && key?.startsWith(this.#prefix) === true
  }

  names(): readonly string[] {
    const keys = this.#attempt((storage) =>
      Array.from({ length: storage.length }, (_, index) => storage.key(index)),
    )
    return (keys ?? []).flatMap((key) => (this.owns(key) ? [key?.slice(this.#prefix?.length) ?? ''] : []))
  }

  /** Reads a value; undefined when there is none, and when it is not JSON: anything may have written there. */
  read(name: string): unknown {
    return this.#attempt((storage, prefix): unknown => {
      const text = storage.getItem(prefix + name)
      return typeof text === 'string' ? JSON.parse(text) : undefined
    })
  }

  write(name: string, value: unknown): void {
    this.#attempt((storage, prefix) => {
      storage.setItem(prefix + name, JSON.stringify(value))
    })
  }

  remove(name: string): void {
    this.#attempt((storage, prefix) => {
      storage.removeItem(prefix + name)
    })
  }

  #attempt<Result>(use: (storage: OperationStorage, prefix: string) => Result): Result | undefined {
    if (this.#storage === undefined || this.#prefix === undefined) return undefined
    try {
      return use(this.#storage, this.#prefix)
    } catch {
      return undefined
    }
  }
}

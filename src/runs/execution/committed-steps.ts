import type { StepRow } from '../../postgres/index.ts'

/** Steps of a run that have committed, and which of them the code of this attempt has asked for. */
export class CommittedSteps {
  readonly #results: Map<string, string | null>
  readonly #unasked: Set<string>
  #last: string | undefined
  #waiting: (() => void)[] = []

  /** @param rows in the order of their flushes, as they stood after the claim */
  constructor(rows: readonly StepRow[]) {
    this.#results = new Map(rows.map(({ name, result }) => [name, result]))
    this.#unasked = new Set(this.#results.keys())
    this.#last = rows.at(-1)?.name
  }

  /** The last step that was seen to commit. */
  get last(): string | undefined {
    return this.#last
  }

  /** Steps that earlier attempts have committed, and that the code has not asked for. */
  get unasked(): readonly string[] {
    return [...this.#unasked]
  }

  /** The result of a step that has committed; undefined where it has not. */
  ask(key: string): { readonly json: string | null } | undefined {
    const json = this.#results.get(key)
    if (json === undefined) return undefined
    this.#unasked.delete(key)
    if (this.#unasked.size === 0) for (const goOn of this.#waiting.splice(0)) goOn()
    return { json }
  }

  add(key: string, json: string | null): void {
    this.#results.set(key, json)
    this.#last = key
  }

  /** Resolves once all of them have been asked for; undefined where they have. */
  allAsked(): Promise<void> | undefined {
    if (this.#unasked.size === 0) return undefined
    return new Promise((resolve) => this.#waiting.push(resolve))
  }
}

import { limits } from '../protocol/index.ts'
import { backoffMs, later, type Delays } from './backoff.ts'
import { detach } from './detach.ts'
import { fromWireError, toWireError } from './errors.ts'
import type { ErrorListener } from './listeners.ts'
import { acceptanceOf } from './pending-operation.ts'

interface InquiryOptions {
  /** Asks the server for these ids; rejects when no answer came. */
  readonly ask: (ids: readonly string[]) => Promise<unknown>
  /** Takes one answer. Deletes the id from here when it was final. */
  readonly answer: (answer: unknown) => void
  /** The server will not say what became of this one. */
  readonly refused: (id: string, error: unknown) => void
  readonly delays: Delays
  readonly onError: ErrorListener
}

/** No server may silence a client for longer, in milliseconds. */
const longestPatienceMs = 60_000

/** Asks for the outcomes of operations whose reply was lost, again and again until each is known. */
export class OutcomeInquiry {
  readonly #options: InquiryOptions
  readonly #ids = new Set<string>()
  #online = false
  #asking = false
  #fresh = false
  #attempt = 0
  /** The server has asked for patience until then, on the monotonic clock. */
  #notBefore = 0
  #cancel: (() => void) | undefined

  constructor(options: InquiryOptions) {
    this.#options = options
  }

  add(id: string): void {
    this.#ids.add(id)
    this.#fresh = true
    if (this.#online) this.#schedule(0)
  }

  /** Returns whether it was asked for. */
  delete(id: string): boolean {
    return this.#ids.delete(id)
  }

  start(): void {
    this.#online = true
    this.#fresh = true
    this.#schedule(0)
  }

  stop(): void {
    this.#online = false
    this.#cancel?.()
  }

  #schedule(delayMs: number): void {
    this.#cancel?.()
    const patienceMs = this.#notBefore - performance.now()
    const round = (): void => detach(this.#round(), this.#options.onError)
    this.#cancel = later(round, Math.max(delayMs, patienceMs))
  }

  async #round(): Promise<void> {
    if (this.#asking || !this.#online || this.#ids.size === 0) return
    this.#asking = true
    this.#fresh = false
    try {
      const ids = [...this.#ids]
      for (let start = 0; start < ids.length; start += limits.maxOutcomeIds) {
        await this.#ask(ids.slice(start, start + limits.maxOutcomeIds))
      }
    } catch (error) {
      if (this.#online) this.#options.onError(fromWireError(error))
    } finally {
      this.#asking = false
    }
    if (!this.#online || this.#ids.size === 0) return
    this.#attempt = this.#fresh ? 0 : this.#attempt + 1
    this.#schedule(this.#fresh ? 0 : backoffMs(this.#attempt - 1, this.#options.delays))
  }

  #heed(answer: unknown): void {
    const { retryAfterMs } = Object(answer) as { readonly retryAfterMs?: unknown }
    if (typeof retryAfterMs !== 'number' || !(retryAfterMs <= longestPatienceMs)) return
    this.#notBefore = Math.max(this.#notBefore, performance.now() + retryAfterMs)
  }

  async #ask(ids: readonly string[]): Promise<void> {
    const { ask, answer, refused } = this.#options
    try {
      const { outcomes } = Object(await ask(ids)) as { outcomes?: unknown }
      for (const one of Array.isArray(outcomes) ? (outcomes as unknown[]) : []) {
        this.#heed(one)
        answer(one)
      }
    } catch (error) {
      if (acceptanceOf(toWireError(error)) !== 'not_accepted') throw error
      const [first] = ids
      if (ids.length === 1 && first !== undefined) {
        this.#ids.delete(first)
        refused(first, error)
        return
      }
      // One id that the server will not answer for spoils the answer for all that were asked with it.
      const middle = Math.ceil(ids.length / 2)
      await this.#ask(ids.slice(0, middle))
      await this.#ask(ids.slice(middle))
    }
  }
}

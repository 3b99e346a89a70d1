import { maxOutcomeIds, operationExpiredCode, reservedMethods } from '../protocol/index.ts'
import { backoffMs, later, type Delays } from './backoff.ts'
import { detach } from './detach.ts'
import { fromWireError, toWireError, type LockstepClientError } from './errors.ts'
import type { ErrorListener } from './listeners.ts'
import { acceptanceOf, asFinal, type FinalOutcome } from './pending-operation.ts'

interface InquiryOptions {
  readonly rpc: (method: string, data: unknown) => Promise<unknown>
  /** Takes a final answer, and deletes the id from here. */
  readonly onOutcome: (outcome: FinalOutcome) => void
  /** The server will not say what became of this one. */
  readonly onRefused: (id: string, error: LockstepClientError) => void
  readonly delays: Delays
  readonly onError: ErrorListener
}

/** Longest wait before asking again for an outcome that was not decided yet, in milliseconds. */
const askAtLeastEveryMs = 5_000
/** Longest silence that a server may ask for, in milliseconds. */
const longestRetryAfterMs = 60_000

/** Asks for the outcomes of operations whose reply was lost, again and again until each is known. */
export class OutcomeInquiry {
  readonly #options: InquiryOptions
  readonly #delays: Delays
  readonly #ids = new Set<string>()
  #online = false
  #asking = false
  #fresh = false
  #attempt = 0
  /** Monotonic time until which the server has asked the client to wait. */
  #notBefore = 0
  #cancel: (() => void) | undefined

  constructor(options: InquiryOptions) {
    this.#options = options
    const { minMs, maxMs } = options.delays
    this.#delays = { minMs, maxMs: Math.min(maxMs, askAtLeastEveryMs) }
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
    const untilAllowedMs = this.#notBefore - performance.now()
    const round = (): void => detach(this.#round(), this.#options.onError)
    this.#cancel = later(round, Math.max(delayMs, untilAllowedMs))
  }

  async #round(): Promise<void> {
    if (this.#asking || !this.#online || this.#ids.size === 0) return
    this.#asking = true
    this.#fresh = false
    try {
      const ids = [...this.#ids]
      for (let start = 0; start < ids.length; start += maxOutcomeIds) {
        await this.#ask(ids.slice(start, start + maxOutcomeIds))
      }
    } catch (error) {
      if (this.#online) this.#options.onError(fromWireError(error))
    } finally {
      this.#asking = false
    }
    if (!this.#online || this.#ids.size === 0) return
    if (this.#fresh) this.#attempt = 0
    this.#schedule(this.#fresh ? 0 : backoffMs(this.#attempt++, this.#delays))
  }

  #heed(retryAfterMs: unknown): void {
    if (typeof retryAfterMs !== 'number' || !(retryAfterMs <= longestRetryAfterMs)) return
    this.#notBefore = Math.max(this.#notBefore, performance.now() + retryAfterMs)
  }

  #giveUp(id: string, error: LockstepClientError): void {
    this.#ids.delete(id)
    this.#options.onRefused(id, error)
  }

  async #ask(ids: readonly string[]): Promise<void> {
    const { rpc, onOutcome } = this.#options
    try {
      const { outcomes } = Object(await rpc(reservedMethods.outcomes, { ids })) as { outcomes?: unknown }
      for (const answer of Array.isArray(outcomes) ? (outcomes as unknown[]) : []) {
        const {
          retryAfterMs,
          outcome: how,
          operationId,
        } = Object(answer) as Readonly<Record<string, unknown>>
        this.#heed(retryAfterMs)
        const outcome = asFinal(answer)
        if (outcome !== undefined) onOutcome(outcome)
        else if (how === 'expired') this.#giveUp(operationId as string, expired())
      }
    } catch (error) {
      if (acceptanceOf(toWireError(error)) !== 'not_accepted') throw error
      const [first] = ids
      if (ids.length === 1 && first !== undefined) {
        return this.#giveUp(first, fromWireError(error))
      }
      // Asks by halves: an id that the server will not answer for spoils the answer for all that were asked with it.
      const middle = Math.ceil(ids.length / 2)
      await this.#ask(ids.slice(0, middle))
      await this.#ask(ids.slice(middle))
    }
  }
}

const expired = (): LockstepClientError =>
  fromWireError({ code: operationExpiredCode, message: 'LS_OPERATION_EXPIRED: It may have committed.' })

import { randomUUID } from 'node:crypto'
import { defineChannel, detach, messageOf, type Clock, type Logger, type Schema } from '../core/index.ts'
import type { FeedEvent, EventSource, Joined } from '../feeds/index.ts'
import type { Revocation } from './identity.ts'

/** Data of a revocation event on the internal channel. */
export interface PublishedRevocation extends Revocation {
  /** Id of the feed whose node has acted on it before it was published. */
  readonly node: string
}

// Schema without checks: this file writes the events that it reads.
const publishedRevocation: Schema<PublishedRevocation, PublishedRevocation> = {
  '~standard': {
    version: 1,
    vendor: 'lockstep',
    validate: (value) => ({ value: value as PublishedRevocation }),
  },
}

/** Carries revocations to every node, over the log like any other event. No client may hear it. */
export const revocations = defineChannel<
  'lockstep:revocations',
  { readonly revoked: typeof publishedRevocation },
  true
>('lockstep:revocations', { internal: true, events: { revoked: publishedRevocation } })

export interface RevocationFeedOptions {
  readonly events: EventSource
  readonly clock: Clock
  readonly logger: Logger
  readonly apply: (revocation: Revocation) => void
  /** Revocations may have been missed, so the node has to check again everything that it has granted. */
  readonly missed: () => void
}

const retryMs = 500

/** Hears what other nodes have revoked. */
export class RevocationFeed {
  /**
   * Id of its own, because that of the lease changes: the node would act again on what it published under an earlier
   * one.
   */
  readonly #id = randomUUID()
  readonly #options: RevocationFeedOptions
  #joined: Joined | undefined
  #cancelRetry: (() => void) | undefined
  #closed = false

  constructor(options: RevocationFeedOptions) {
    this.#options = options
  }

  /** Builds the event that tells the other nodes of a revocation. */
  publicationOf(revocation: Revocation): PublishedRevocation {
    return { ...revocation, node: this.#id }
  }

  /** Resolves when it hears, or is known not to; then it goes on trying by itself. */
  async start(): Promise<void> {
    try {
      await this.#join()
    } catch (error) {
      this.#options.logger.warn({ error: messageOf(error) }, 'revocations are not heard; trying again')
      if (!this.#closed)
        this.#cancelRetry = this.#options.clock.after(retryMs, () => this.#startOverDetached())
    }
  }

  close(): void {
    this.#closed = true
    this.#cancelRetry?.()
    this.#joined?.leave()
  }

  #startOverDetached(): void {
    detach(this.#startOver(), this.#options.logger, 'hearing revocations again')
  }

  #apply(event: FeedEvent): void {
    const { node, ...revocation } = JSON.parse(event.data) as PublishedRevocation
    if (node !== this.#id) this.#options.apply(revocation)
  }

  async #join(): Promise<void> {
    const joined = await this.#options.events.join(
      revocations().name,
      {},
      {
        deliver: (events) => events.forEach((event) => this.#apply(event)),
        deliverTransient: () => {},
        reset: () => this.#startOverDetached(),
      },
    )
    if (this.#closed) return joined.leave()
    this.#joined = joined
    joined.start()
  }

  async #startOver(): Promise<void> {
    this.#joined = undefined
    await this.start()
    if (this.#joined !== undefined) this.#options.missed()
  }
}

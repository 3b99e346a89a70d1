import { randomUUID } from 'node:crypto'
import { defineChannel, detach, messageOf, type Clock, type Logger, type Schema } from '../core/index.ts'
import type { EncodedEvent, EventSource, Joined } from '../events/subscription.ts'
import type { Revocation } from './identity.ts'

/** What an event of the channel holds. */
export interface AnnouncedRevocation extends Revocation {
  /** Id of the feed whose node has acted on it before it was announced. */
  readonly node: string
}

// Made here and read here: there is nothing to check.
const announced: Schema<AnnouncedRevocation, AnnouncedRevocation> = {
  '~standard': {
    version: 1,
    vendor: 'lockstep',
    validate: (value) => ({ value: value as AnnouncedRevocation }),
  },
}

/** Carries revocations to every node, over the log like any other event. No client may hear it. */
export const revocations = defineChannel('lockstep:revocations', {
  events: { revoked: announced },
  canSubscribe: () => false,
})

export interface RevocationFeedOptions {
  readonly events: EventSource
  readonly clock: Clock
  readonly logger: Logger
  readonly apply: (revocation: Revocation) => void
  /** Some may have been missed: all that is granted has to be asked for again. */
  readonly missed: () => void
}

const retryMs = 500

/** Hears what other nodes have revoked. */
export class RevocationFeed {
  /** Not that of the lease, which changes: what was announced under the one before would be acted on again. */
  readonly #id = randomUUID()
  readonly #options: RevocationFeedOptions
  #joined: Joined | undefined
  #cancelRetry: (() => void) | undefined
  #closed = false

  constructor(options: RevocationFeedOptions) {
    this.#options = options
  }

  /** What tells the other nodes of it. */
  announcementOf(revocation: Revocation): AnnouncedRevocation {
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

  #apply(event: EncodedEvent): void {
    const { data } = JSON.parse(event.publication) as { data: { data: AnnouncedRevocation } }
    const { node, ...revocation } = data.data
    if (node !== this.#id) this.#options.apply(revocation)
  }

  async #join(): Promise<void> {
    const joined = await this.#options.events.join(
      revocations({}).name,
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

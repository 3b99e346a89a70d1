import { Centrifuge } from 'centrifuge'
import type pg from 'pg'
import { WebSocket } from 'ws'
import { signToken } from '../../src/index.ts'
import { witnessId } from './application.ts'
import type { Sighting } from './judge.ts'
import { Arrivals } from './within.ts'

interface WitnessOptions {
  readonly url: string
  readonly secret: string
  /** Connections of the witness's own, past Lockstep. */
  readonly database: pg.Pool
}

interface Envelope {
  readonly type: string
  readonly operationId: string
  readonly data: unknown
}

/**
 * Witness with an unmodified client: notes each event on the socket, when it came, and whether another connection to
 * the database could read the event's rows at that moment.
 */
export class Witness {
  readonly #options: WitnessOptions
  readonly #client: Centrifuge
  readonly #arrivals = new Arrivals<Sighting>()
  readonly #byOperation = new Map<string, Sighting[]>()
  readonly #looking: Promise<void>[] = []

  constructor(options: WitnessOptions) {
    this.#options = options
    this.#client = new Centrifuge(options.url, {
      websocket: WebSocket,
      getToken: () => signToken(options.secret, witnessId, 3_600),
    })
  }

  get sightings(): readonly Sighting[] {
    return this.#arrivals.items
  }

  async open(): Promise<void> {
    this.#client.connect()
    await this.#client.ready()
  }

  async follow(channel: string): Promise<void> {
    const subscription = this.#client.newSubscription(channel, { recoverable: true, positioned: true })
    subscription.on('publication', ({ data, offset }) => {
      const envelope = data as Envelope
      const sighting: Sighting = {
        ...envelope,
        channel,
        offset,
        receivedAt: performance.now(),
        readable: undefined,
      }
      this.#looking.push(this.#look(sighting))
      const same = this.#byOperation.get(envelope.operationId) ?? []
      this.#byOperation.set(envelope.operationId, same)
      same.push(sighting)
      this.#arrivals.add(sighting)
    })
    subscription.subscribe()
    await subscription.ready()
  }

  async #look(sighting: Sighting): Promise<void> {
    sighting.readable = await this.isReadable(sighting.operationId)
  }

  /** Resolves to whether another connection can read the operation's rows. */
  async isReadable(operationId: string): Promise<boolean> {
    const { rows } = await this.#options.database.query(
      `select exists (select from messages where operation_id = $1)
         or exists (select from receipts where operation_id = $1)
         or exists (select from agent_states where operation_id = $1) as found`,
      [operationId],
    )
    return (rows[0] as { found: boolean }).found
  }

  sightingsOf(operationId: string): readonly Sighting[] {
    return this.#byOperation.get(operationId) ?? []
  }

  /** @throws Error naming what did not come */
  until(condition: (sightings: readonly Sighting[]) => boolean, what: string): Promise<void> {
    return this.#arrivals.until(condition, what)
  }

  /** Asks over the same socket: all frames sent to it before have arrived when the answer has. */
  async fence(): Promise<void> {
    await this.#client.rpc('list_messages', { to: 'nowhere' })
  }

  /** Resolves once the database has answered for all events that arrived. */
  async settled(): Promise<void> {
    await Promise.all(this.#looking)
  }

  close(): void {
    this.#client.disconnect()
  }
}

import type { Pool, PoolClient } from 'pg'
import { disregard, type HistoryGate, type Queryable } from '../core/index.ts'

export interface GuardedPoolOptions {
  readonly pool: Pool
  /** @throws errors of the catalogue */
  readonly connect: () => Promise<PoolClient>
  /** Sends over this client. */
  readonly over: (client: PoolClient) => Queryable
}

/**
 * Lends connections of a pool. With a gate, a connection is lent only once the gate has admitted it, and only while the
 * history on it is the one that is served: after a failover a pool may hold connections to the old server for as long as
 * that lives.
 */
export class GuardedPool {
  readonly #pool: Pool
  readonly #connect: () => Promise<PoolClient>
  readonly #over: (client: PoolClient) => Queryable
  readonly #epochs = new WeakMap<PoolClient, string>()
  #gate: HistoryGate | undefined

  constructor(options: GuardedPoolOptions) {
    this.#pool = options.pool
    this.#connect = options.connect
    this.#over = options.over
  }

  guard(gate: HistoryGate): void {
    // A node that could not start tries again, with the same gate.
    if (this.#gate === gate) return
    this.#gate = gate
    // A connection that could not be had, or is broken, is not lent either.
    gate.onChange(() => disregard(this.#discardIdle(gate)))
  }

  /** Epoch of the history on a connection that was lent. */
  epochOf(client: PoolClient): string | undefined {
    return this.#epochs.get(client)
  }

  /** @throws errors of the catalogue */
  async lend(): Promise<PoolClient> {
    for (;;) {
      const client = await this.#connect()
      const gate = this.#gate
      if (gate === undefined || this.#epochs.get(client) === gate.epoch) return client
      if (this.#epochs.has(client)) client.release(true)
      else if (await this.#isAdmitted(client, gate)) return client
    }
  }

  async #isAdmitted(client: PoolClient, gate: HistoryGate): Promise<boolean> {
    try {
      const epoch = await gate.admit(this.#over(client))
      this.#epochs.set(client, epoch)
      if (epoch === gate.epoch) return true
    } catch (error) {
      client.release(true)
      throw error
    }
    client.release(true)
    return false
  }

  /** Idle connections only: a connection that is lent is compared when it is lent again. */
  async #discardIdle(gate: HistoryGate): Promise<void> {
    const taken = Array.from({ length: this.#pool.idleCount }, () => this.#connect())
    for (const one of await Promise.allSettled(taken)) {
      if (one.status === 'fulfilled') one.value.release(this.#epochs.get(one.value) !== gate.epoch)
    }
  }
}

import type pg from 'pg'

/** Milliseconds between two looks; a lease lives for three seconds. */
const periodMs = 250

export interface Looks {
  readonly count: number
  /** Number of looks at which a node had no lease, or another one than at first. */
  readonly lost: number
}

/** Looks at the leases in the database, as other nodes do. */
export class LeaseWatch {
  readonly #db: pg.Pool
  readonly #nodes: readonly string[]
  readonly #timer: NodeJS.Timeout
  #looking: Promise<void> | undefined
  #count = 0
  #lost = 0

  constructor(db: pg.Pool, nodes: readonly string[]) {
    this.#db = db
    this.#nodes = nodes
    this.#timer = setInterval(() => {
      this.#looking ??= this.#look().finally(() => (this.#looking = undefined))
    }, periodMs)
  }

  /** Takes a last look, and ends the watch. */
  async end(): Promise<Looks> {
    clearInterval(this.#timer)
    await this.#looking
    await this.#look()
    return { count: this.#count, lost: this.#lost }
  }

  async #look(): Promise<void> {
    const { rows } = await this.#db.query<{ node: string }>(
      'select node from lockstep.nodes where lease_until >= clock_timestamp()',
    )
    this.#count += 1
    const held = rows.map(({ node }) => node)
    if (held.length !== this.#nodes.length || this.#nodes.some((node) => !held.includes(node)))
      this.#lost += 1
  }
}

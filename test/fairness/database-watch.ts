import type pg from 'pg'

const lookMs = 25

/** Looks what the connections to the database wait for. */
export class DatabaseWatch {
  readonly #timer: NodeJS.Timeout
  readonly #seen = new Map<string, number>()
  #looking = false
  #looks = 0

  constructor(db: pg.Pool) {
    this.#timer = setInterval(() => {
      if (this.#looking) return
      this.#looking = true
      void this.#look(db).finally(() => (this.#looking = false))
    }, lookMs)
  }

  end(): string {
    clearInterval(this.#timer)
    const shown = [...this.#seen].toSorted(([, a], [, b]) => b - a).slice(0, 14)
    return shown.map(([what, count]) => `${what} ${(count / this.#looks).toFixed(2)}`).join(', ')
  }

  async #look(db: pg.Pool): Promise<void> {
    const { rows } = await db.query<{ what: string; count: number }>(
      `select concat_ws(' ', nullif(backend_type, 'client backend'), state, wait_event_type, wait_event) as what, count(*)::int
       from pg_stat_activity
       where pid <> pg_backend_pid() and wait_event_type is distinct from 'Activity' and state is distinct from 'idle'
       group by 1`,
    )
    this.#looks += 1
    for (const { what, count } of rows) this.#seen.set(what, (this.#seen.get(what) ?? 0) + count)
  }
}

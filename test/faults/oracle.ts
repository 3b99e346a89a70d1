// What stands in the database at the end, read past Lockstep: the truth that everything told is held against.
import pg from 'pg'

export interface OracleOperation {
  readonly id: string
  readonly user: string
  readonly state: 'started' | 'committed' | 'rolled_back'
  /** Closed by a question for its outcome before any call of it was accepted. */
  readonly unheard: boolean
}

export interface OracleEvent {
  readonly channel: string
  readonly offset: number
  readonly id: string
  readonly type: string
  /** JSON text of its data. */
  readonly data: string
}

export interface Oracle {
  readonly operations: ReadonlyMap<string, OracleOperation>
  /** Ordered by channel and offset. */
  readonly events: readonly OracleEvent[]
  readonly heads: ReadonlyMap<string, number>
  /** Rows that each operation left in the business table. */
  readonly effects: ReadonlyMap<string, number>
  /** Names the history that the offsets belong to. */
  readonly epoch: string
}

export const noticeType = 'transaction_rolled_back'

/** The business tables of the fault lanes. No key forbids a second row of one operation: the checker looks for it. */
export const businessTables = `
  create table effects (operation_id uuid not null);
  create table later_unique (operation_id uuid unique deferrable initially deferred)`

export async function readOracle(url: string): Promise<Oracle> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    await client.query('begin isolation level repeatable read read only')
    const operations = await client.query<{ id: string; user_id: string; state: string; input_hash: string }>(
      // Whoever asks for an id of somebody else has it closed for themselves: a row of the same id, which does not count.
      `(select distinct on (id) id, user_id, state, input_hash
        from lockstep.operations order by id, input_hash = '')
       union all
       select distinct on (k.id) k.id, k.user_id, 'started', k.input_hash
       from lockstep.intents i cross join lateral unnest(i.ids, i.user_ids, i.input_hashes)
         as k (id, user_id, input_hash)
       where not exists (select from lockstep.operations o where o.id = k.id and o.user_id = k.user_id)`,
    )
    const events = await client.query<{
      channel: string
      offset: string
      id: string
      type: string
      data: string
    }>(
      `select channel, "offset", operation_id as id, type, data::text as data from lockstep.events
       order by channel, "offset"`,
    )
    const heads = await client.query<{ channel: string; head: string }>(
      'select channel, head from lockstep.channels',
    )
    const effects = await client.query<{ id: string; count: string }>(
      'select operation_id as id, count(*) from effects group by 1',
    )
    const meta = await client.query<{ epoch: string }>('select epoch from lockstep.meta')
    return {
      epoch: meta.rows[0]?.epoch ?? '',
      operations: new Map(
        operations.rows.map(({ id, user_id: user, state, input_hash: hash }) => [
          id,
          { id, user, state: state as OracleOperation['state'], unheard: hash === '' },
        ]),
      ),
      events: events.rows.map((row) => ({ ...row, offset: Number(row.offset) })),
      heads: new Map(heads.rows.map(({ channel, head }) => [channel, Number(head)])),
      effects: new Map(effects.rows.map(({ id, count }) => [id, Number(count)])),
    }
  } finally {
    await client.end()
  }
}

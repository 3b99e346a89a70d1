// Oracle: the database at the end of a run, read past Lockstep, as the truth that every reply and delivery is checked
// against.
import pg from 'pg'
import { receiptsTables, withdrawnType } from '../support/receipts-part.ts'
import { isRunner, jobsChannel, jobTables } from './jobs.ts'
import { noRuns, readRunOracle, type RunOracle } from './run-oracle.ts'

export interface OracleOperation {
  readonly id: string
  readonly user: string
  readonly state: 'started' | 'committed' | 'rolled_back'
  /** The operation was closed by a question for its outcome before any call of it was accepted. */
  readonly unheard: boolean
}

export interface OracleEvent {
  readonly channel: string
  readonly offset: number
  readonly id: string
  readonly type: string
  /** JSON text of the event's data. */
  readonly data: string
}

export interface Oracle {
  readonly operations: ReadonlyMap<string, OracleOperation>
  /** Events in the order of channel and offset. */
  readonly events: readonly OracleEvent[]
  readonly heads: ReadonlyMap<string, number>
  /** Rows that each operation left in the business table. */
  readonly effects: ReadonlyMap<string, number>
  /** Rows of the second part that each operation left. */
  readonly receipts: ReadonlyMap<string, number>
  /** Channel of the promise that an operation left outside its transaction, by operation. */
  readonly promises: ReadonlyMap<string, string>
  readonly runs: RunOracle
  /** Name of the history that the offsets belong to. */
  readonly epoch: string
}

export const noticeType = 'transaction_rolled_back'
export { noRuns, withdrawnType }

/** The business tables of the fault lanes. No key forbids a second row of one operation: the checker looks for it. */
export const businessTables = `
  create table effects (operation_id uuid not null);
  create table later_unique (operation_id uuid unique deferrable initially deferred);
  ${receiptsTables}
  ${jobTables}`

/** Operations of Lockstep's own that change a run. */
const changesOfRuns = 'lockstep.runs.'
const isOfRuns = ({ name, user_id: user }: { readonly name: string; readonly user_id: string }): boolean =>
  isRunner(user) || name.startsWith(changesOfRuns)

/** Reads it. Operations and channels of runs are left to `runs`. */
export async function readOracle(url: string): Promise<Oracle> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    await client.query('begin isolation level repeatable read read only')
    const operations = await client.query<{
      id: string
      name: string
      user_id: string
      state: string
      input_hash: string
    }>(
      // A user who asks for an id of another user closes it for themselves: a row of the same id, which does not count.
      `(select distinct on (id) id, name, user_id, state, input_hash
        from lockstep.operations order by id, input_hash = '')
       union all
       select distinct on (k.id) k.id, k.name, k.user_id, 'started', k.input_hash
       from lockstep.intents i cross join lateral unnest(i.ids, i.names, i.user_ids, i.input_hashes)
         as k (id, name, user_id, input_hash)
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
       where channel not like '${jobsChannel}:%' order by channel, "offset"`,
    )
    const heads = await client.query<{ channel: string; head: string }>(
      `select channel, head from lockstep.channels where channel not like '${jobsChannel}:%'`,
    )
    const effects = await client.query<{ id: string; count: string }>(
      'select operation_id as id, count(*) from effects group by 1',
    )
    const receipts = await client.query<{ id: string; count: string }>(
      'select operation as id, count(*) from receipts group by 1',
    )
    const promises = await client.query<{ id: string; channel: string }>(
      'select operation as id, channel from promises',
    )
    const meta = await client.query<{ epoch: string }>('select epoch from lockstep.meta')
    return {
      epoch: meta.rows[0]?.epoch ?? '',
      runs: {
        ...(await readRunOracle(client)),
        operations: new Map(operations.rows.filter(isOfRuns).map(({ id, state }) => [id, state])),
      },
      operations: new Map(
        operations.rows
          .filter((row) => !isOfRuns(row))
          .map(({ id, user_id: user, state, input_hash: hash }) => [
            id,
            { id, user, state: state as OracleOperation['state'], unheard: hash === '' },
          ]),
      ),
      events: events.rows.map((row) => ({ ...row, offset: Number(row.offset) })),
      heads: new Map(heads.rows.map(({ channel, head }) => [channel, Number(head)])),
      receipts: new Map(receipts.rows.map(({ id, count }) => [id, Number(count)])),
      promises: new Map(promises.rows.map(({ id, channel }) => [id, channel])),
      effects: new Map(effects.rows.map(({ id, count }) => [id, Number(count)])),
    }
  } finally {
    await client.end()
  }
}

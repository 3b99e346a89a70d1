/**
 * A second way of numbering: events get their offsets after the commit, in batches, so that no commit waits for another one
 * on its channel. Whoever reads heads places what a node left without a place when it died.
 */
import type { Queryable, Statement } from '../../src/core/index.ts'
import {
  countByChannel,
  createCountedLog,
  CountingAppender,
  EventLog,
  type Append,
  type CreateLog,
  type FoundCommit,
  type Landed,
  type LogAppender,
  type Settled,
  type StoredEvent,
} from '../../src/log/index.ts'
import {
  toEventRow,
  type Heads,
  type OperationKey,
  type PendingEvent,
  type SettlementRequest,
  type SettlementWaits,
} from '../../src/postgres/index.ts'

/** Tables and functions beside those of the product. `place_events` takes one turn at a time. */
export const batchedLogSql = `
create table lockstep.unplaced (
  seq bigint generated always as identity primary key,
  operation_id uuid not null, user_id text not null, channel text collate "C" not null,
  type text not null, data json not null, at timestamptz not null
);
create function lockstep.flush_unplaced(p_id uuid, p_name text, p_user text, p_node uuid, p_hash text, p_result json,
  p_channels text[], p_types text[], p_data json[]) returns void language plpgsql as $$
begin
  perform lockstep.flush_operation(p_id, p_name, p_user, p_node, p_hash, p_result, '{}', '{}', '{}', '{}', '{}', '{}');
  insert into lockstep.unplaced (operation_id, user_id, channel, type, data, at)
  select p_id, p_user, e.channel, e.type, e.data, date_trunc('milliseconds', clock_timestamp())
  from unnest(p_channels, p_types, p_data) with ordinality as e (channel, type, data, place) order by e.place;
end $$;
create function lockstep.place_events() returns void language plpgsql as $$
begin
  perform pg_advisory_xact_lock(370);
  -- A statement of its own, which sees what had committed before the lock was had.
  with taken as (
    delete from lockstep.unplaced u returning u.*
  ), began as (
    select t.*, min(t.seq) over (partition by t.operation_id, t.user_id) as first from taken t
  ), ranked as (
    select b.*, row_number() over (partition by b.channel order by b.first, b.seq) as rank,
      count(*) over (partition by b.channel) as added from began b
  ), heads as (
    insert into lockstep.channels as c (channel, head)
    select r.channel, r.added from ranked r where r.rank = 1 order by r.channel
    on conflict (channel) do update set head = c.head + excluded.head
    returning c.channel, c.head
  ), placed as (
    select r.*, h.head - r.added + r.rank as "offset" from ranked r join heads h using (channel)
  ), stored as (
    insert into lockstep.events (channel, "offset", operation_id, type, data, at)
    select p.channel, p."offset", p.operation_id, p.type, p.data, p.at from placed p
  )
  update lockstep.operations o set positions = o.positions || l.positions
  from (
    select m.operation_id, m.user_id, jsonb_object_agg(m.channel, m.last) as positions
    from (select operation_id, user_id, channel, max("offset") as last from placed group by 1, 2, 3) m group by 1, 2
  ) l
  where o.id = l.operation_id and o.user_id = l.user_id;
end $$;`

const placeEvents: Statement = { text: 'select lockstep.place_events()' }

/** Appends without a place, and gives places to all that have committed, as often as somebody waits for one. */
class BatchingAppender implements LogAppender {
  readonly #own: Queryable
  readonly #counting: LogAppender
  #next: Promise<void> | undefined
  #running: Promise<unknown> = Promise.resolve()

  constructor(own: Queryable, schema: string) {
    this.#own = own
    this.#counting = new CountingAppender(own, schema)
  }

  flush(key: OperationKey, result: string | null, events: readonly PendingEvent[]): Append {
    const { id, name, userId, node, inputHash } = key
    const values = [id, name, userId, node, inputHash, result]
    const lists = [events.map((e) => e.channel), events.map((e) => e.type), events.map((e) => e.data)]
    const emitted = countByChannel(events)
    return {
      statement: {
        text: `select lockstep.flush_unplaced($1, $2, $3, $4, $5, $6::text::json, $7::text[], $8::text[], $9::text[]::json[]) as flushed`,
        values: [...values, ...lists],
      },
      emitted,
      landed: () => (events.length === 0 ? { offsets: new Map(), events: [] } : this.#land(key, emitted)),
    }
  }

  async settle(
    settlements: readonly SettlementRequest[],
    waits: SettlementWaits,
  ): Promise<readonly (Settled | undefined)[]> {
    const settled = await this.#counting.settle(settlements, waits)
    if (!settled.some((one) => one?.state === 'committed')) return settled
    await this.place()
    return Promise.all(
      settled.map(async (one, index) => {
        const { key } = settlements[index] ?? {}
        if (one?.state !== 'committed' || key === undefined) return one
        const [row] = await this.#counting.outcomesOf(key.userId, [key.id])
        return row === undefined ? one : { ...one, positions: Object.fromEntries(row.offsets) }
      }),
    )
  }

  async outcomesOf(userId: string, ids: readonly string[]) {
    await this.place()
    return this.#counting.outcomesOf(userId, ids)
  }

  async eventsOf({ operationId, offsets }: FoundCommit): Promise<readonly StoredEvent[]> {
    const { rows } = await this.#own.query<{ channel: string }>({
      text: `select channel, "offset", operation_id, type, data::text as data,
               (extract(epoch from at) * 1000)::float8 as at_ms
             from lockstep.events where operation_id = $1 order by channel, "offset"`,
      values: [operationId],
    })
    return rows
      .filter(({ channel }) => offsets.has(channel))
      .map((row) => ({ channel: row.channel, ...toEventRow(row) }))
  }

  /** Gives all that have committed their places. Callers during a statement share the next one. */
  place(): Promise<void> {
    this.#next ??= this.#placeBehind(this.#running)
    return this.#next
  }

  async #placeBehind(before: Promise<unknown>): Promise<void> {
    await before
    this.#next = undefined
    const placed = this.#own.query(placeEvents)
    this.#running = placed.catch(() => {})
    await placed
  }

  async #land({ id, userId }: OperationKey, emitted: Append['emitted']): Promise<Landed> {
    const [row] = await this.outcomesOf(userId, [id])
    if (row === undefined) throw new Error(`the outcome of ${id} is gone`)
    const events = await this.eventsOf({ operationId: id, emitted, offsets: row.offsets })
    return { offsets: row.offsets, events }
  }
}

/** Reads heads after everything that has committed was placed. */
class PlacingReader extends EventLog {
  readonly #append: BatchingAppender

  constructor(append: BatchingAppender, ...given: ConstructorParameters<typeof EventLog>) {
    super(...given)
    this.#append = append
  }

  override async headsOf(channels: readonly string[]): Promise<Heads> {
    await this.#append.place()
    return super.headsOf(channels)
  }
}

/** Needs `batchedLogSql` in the database. */
export const createBatchedLog: CreateLog = (own, schema, history) => {
  const append = new BatchingAppender(own, schema)
  return {
    ...createCountedLog(own, schema, history),
    append,
    read: new PlacingReader(append, own, schema, history),
  }
}

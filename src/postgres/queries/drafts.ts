import type { OperationRef, Statement } from '../../core/index.ts'
import { prepared } from './prepared.ts'

/** Drafts that an operation shows on a channel before it commits. */
export interface DraftEntry {
  readonly operation: OperationRef & { readonly node: string }
  readonly channel: string
  /** Run and step that the operation commits; undefined outside of runs. */
  readonly run: { readonly id: string; readonly step: string } | undefined
  /** Attempt at the run; at the operation where there is no run. */
  readonly attempt: number
}

export interface OpenedDraftRow {
  /** `unnoted`: nobody would settle the operation after its node; `full`: the channel has as many as it may have. */
  readonly answer: 'written' | 'busy' | 'ended' | 'unnoted' | 'full'
  /** Head of the channel. */
  readonly after: number
}

/** Opens those whose operation is open, and answers an `OpenedDraftRow` for each in their order. Waits for no lock. */
export function openDrafts(schema: string, entries: readonly DraftEntry[], most: number): Statement {
  return open(schema, [
    entries.map(({ operation }) => operation.id),
    entries.map(({ operation }) => operation.userId),
    entries.map(({ operation }) => operation.node),
    entries.map(({ channel }) => channel),
    entries.map(({ run }) => run?.id ?? null),
    entries.map(({ attempt }) => attempt),
    entries.map(({ run }) => run?.step ?? null),
    most,
  ])
}

const open = prepared(
  'open_drafts',
  (
    schema,
  ) => `select o.answer, o.after from ${schema}.open_drafts($1::uuid[], $2::text[], $3::uuid[], $4::text[],
             $5::uuid[], $6::int[], $7::text[], $8::int) o order by o.place`,
)

/** Removes what would retract drafts: for a planted bug alone. */
export function forgetRetractions(schema: string): Statement {
  return { text: `delete from ${schema}.rollback_events where part = 'drafts'` }
}

/** Chunks of a draft that follow each other. */
export interface ChunkBatch {
  readonly operation: OperationRef
  readonly channel: string
  readonly name: string
  readonly attempt: number
  /** Number of the first, from 1. */
  readonly first: number
  /** JSON text of the array. */
  readonly chunks: string
}

/** Keeps chunks without waiting for the disk. Answers a name of the server's session, which a crash of the server ends. */
export function saveChunks(schema: string, batches: readonly ChunkBatch[]): Statement {
  return save(schema, [
    batches.map(({ operation }) => operation.id),
    batches.map(({ operation }) => operation.userId),
    batches.map(({ channel }) => channel),
    batches.map(({ name }) => name),
    batches.map(({ attempt }) => attempt),
    batches.map(({ first }) => first),
    batches.map(({ chunks }) => chunks),
  ])
}

const save = prepared(
  'save_chunks',
  (schema) => `with saved as (
             insert into ${schema}.draft_chunks (operation_id, user_id, channel, name, attempt, first, chunks)
             select w.* from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::int[], $6::int[],
               $7::text[]::json[]) w
             where set_config('synchronous_commit', 'off', true) = 'off'
             on conflict do nothing
           )
           select pg_backend_pid() || ' ' || pg_postmaster_start_time() as session`,
)

/** Removes all that an operation leaves of its drafts, in the transaction that commits it. */
export function forgetDrafts(schema: string, { id, userId }: OperationRef): readonly Statement[] {
  return ['draft_chunks', 'drafts', 'rollback_events'].map((table) => ({
    text: `delete from ${schema}.${table} d
           where d.operation_id operator(pg_catalog.=) $1::pg_catalog.uuid
             and d.user_id operator(pg_catalog.=) $2::pg_catalog.text collate pg_catalog."C"`,
    values: [id, userId],
  }))
}

/** Chunks that a step has shown before, in one of its drafts. */
export interface PreviousDraftRow {
  readonly step: string
  readonly name: string
  readonly attempt: number
  /** Batches in their order. */
  readonly batches: readonly StoredBatch[]
}

export interface StoredBatch {
  readonly first: number
  readonly chunks: readonly unknown[]
}

const batchesOf = `json_agg(json_build_object('first', c.first, 'chunks', c.chunks) order by c.first)`

/** Reads what the steps of a run had shown in its attempts before this one; of each step and name the last. */
export function readPreviousDrafts(schema: string, run: string, attempt: number): Statement {
  return {
    text: `select distinct on (d.step, c.name) d.step, c.name, d.attempt, ${batchesOf} as batches
           from ${schema}.drafts d join ${schema}.draft_chunks c using (operation_id, user_id, channel, attempt)
           where d.run = $1::uuid and d.attempt < $2::int
           group by d.step, c.name, d.attempt, d.operation_id, d.user_id, d.channel, d.opened_at
           order by d.step, c.name, d.attempt desc, d.opened_at desc`,
    values: [run, attempt],
  }
}

/** Condition on a row `d` of `drafts`: nothing has ended it. */
export const isDraftOpen = (schema: string): string => `not exists (
               select from ${schema}.operations o where o.id = d.operation_id and o.user_id = d.user_id
             ) and (d.run is null or exists (
               select from ${schema}.runs r where r.id = d.run and r.attempt = d.attempt and r.state = 'running'
             ))`

export interface StoredDraftRow {
  readonly operation: string
  readonly channel: string
  readonly attempt: number
  readonly runId: string | null
  /** Batches by name, for each name in their order; null where there is none yet. */
  readonly names: Readonly<Record<string, readonly StoredBatch[]>> | null
}

/** JSON object of a row `d` of `drafts`, with what it has shown. */
export const draftJson = (schema: string): string => `json_build_object('operation', d.operation_id,
               'channel', d.channel, 'attempt', d.attempt, 'runId', d.run, 'names', (
                 select json_object_agg(n.name, n.batches) from (
                   select c.name, ${batchesOf} as batches from ${schema}.draft_chunks c
                   where c.operation_id = d.operation_id and c.user_id = d.user_id and c.channel = d.channel
                     and c.attempt = d.attempt
                   group by c.name
                 ) n
               ))`

export interface AskedDraftsRow {
  readonly channel: string
  /** Head of the channel in the same snapshot. */
  readonly head: number
  /** Open ones among those asked for. */
  readonly drafts: readonly StoredDraftRow[] | null
}

/** How drafts stand: `operations[i]` on `channels[i]`. One row for each channel. */
export function readDrafts(
  schema: string,
  channels: readonly string[],
  operations: readonly string[],
): Statement {
  return {
    text: `select w.channel, coalesce(c.head, 0)::int8 as head, (
             select json_agg(${draftJson(schema)})
             from ${schema}.drafts d
             where d.channel = w.channel and d.operation_id = any(w.operations) and ${isDraftOpen(schema)}
           ) as drafts
           from (
             select a.channel, array_agg(a.operation) as operations
             from unnest($1::text[], $2::uuid[]) a (channel, operation) group by a.channel
           ) w left join ${schema}.channels c on c.channel = w.channel`,
    values: [channels, operations],
  }
}

/** Removes, from a range of heap pages, drafts that ended longer ago, with their chunks. */
export function trimDrafts(schema: string, keptMs: number, firstPage: number, pages: number): Statement {
  return {
    text: `with gone as (
             delete from ${schema}.drafts d
             where d.ctid >= format('(%s,0)', $1::bigint)::tid and d.ctid < format('(%s,0)', $2::bigint)::tid
               and d.opened_at < clock_timestamp() - make_interval(secs => $3::float8)
               and not (${isDraftOpen(schema)})
               and not exists (select from ${schema}.runs r where r.id = d.run and r.ended_at is null)
             returning d.operation_id, d.user_id, d.channel
           )
           delete from ${schema}.draft_chunks c using gone
           where c.operation_id = gone.operation_id and c.user_id = gone.user_id and c.channel = gone.channel`,
    values: [firstPage, firstPage + pages, keptMs / 1000],
  }
}

/** Removes, from a range of heap pages, chunks that were saved while their draft was being removed. */
export function trimDraftChunks(schema: string, firstPage: number, pages: number): Statement {
  return {
    text: `delete from ${schema}.draft_chunks c
           where c.ctid >= format('(%s,0)', $1::bigint)::tid and c.ctid < format('(%s,0)', $2::bigint)::tid
             and not exists (select from ${schema}.drafts d where d.operation_id = c.operation_id
               and d.user_id = c.user_id and d.channel = c.channel)`,
    values: [firstPage, firstPage + pages],
  }
}

export function draftChunkPages(schema: string): Statement {
  return {
    text: `select (pg_relation_size('${schema}.draft_chunks') / current_setting('block_size')::int)::int as pages`,
  }
}

export function draftPages(schema: string): Statement {
  return {
    text: `select (pg_relation_size('${schema}.drafts') / current_setting('block_size')::int)::int as pages`,
  }
}

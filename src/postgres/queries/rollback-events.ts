import type { OperationRef, Statement } from '../../core/index.ts'
import { prepared } from './prepared.ts'

/** An event that a settlement appends if it rolls the operation back. */
export interface RollbackEvent {
  readonly operation: OperationRef & { readonly node: string }
  readonly part: string
  /** Names the event among those of its part and operation: of one key one event is appended. */
  readonly key: string
  readonly channel: string
  readonly type: string
  /** JSON text. */
  readonly data: string
}

export interface RollbackEventRow {
  /**
   * `busy`: another transaction decides the outcome, or writes for a copy; `ended`: there is an outcome; `unnoted`: no intent
   * of the node names the operation.
   */
  readonly answer: 'written' | 'busy' | 'ended' | 'unnoted'
}

/** Writes those whose operation is open, and answers a `RollbackEventRow` for each in their order. Waits for no lock. */
export function writeRollbackEvents(schema: string, events: readonly RollbackEvent[]): Statement {
  return writeAll(schema, [
    events.map(({ operation }) => operation.id),
    events.map(({ operation }) => operation.userId),
    events.map(({ operation }) => operation.node),
    events.map(({ part }) => part),
    events.map(({ key }) => key),
    events.map(({ channel }) => channel),
    events.map(({ type }) => type),
    events.map(({ data }) => data),
  ])
}

const writeAll = prepared(
  'rollback_events',
  (schema) => `select w.answer from ${schema}.write_rollback_events($1::uuid[], $2::text[], $3::uuid[],
             $4::text[], $5::text[], $6::text[], $7::text[], $8::text[]::json[]) w order by w.place`,
)

/** Removes those of an operation that commits, in its transaction. */
export function forgetRollbackEvents(schema: string, { id, userId }: OperationRef): Statement {
  return {
    text: `delete from ${schema}.rollback_events e
           where e.operation_id operator(pg_catalog.=) $1::pg_catalog.uuid
             and e.user_id operator(pg_catalog.=) $2::pg_catalog.text collate pg_catalog."C"`,
    values: [id, userId],
  }
}

/**
 * Removes, from a range of heap pages, rows whose operation has an outcome: those of a copy that wrote while another copy
 * committed.
 */
export function trimRollbackEvents(schema: string, firstPage: number, pages: number): Statement {
  return {
    text: `delete from ${schema}.rollback_events e
           where e.ctid >= format('(%s,0)', $1::bigint)::tid and e.ctid < format('(%s,0)', $2::bigint)::tid
             and exists (select from ${schema}.operations o where o.id = e.operation_id and o.user_id = e.user_id)`,
    values: [firstPage, firstPage + pages],
  }
}

export function rollbackEventPages(schema: string): Statement {
  return {
    text: `select (pg_relation_size('${schema}.rollback_events') / current_setting('block_size')::int)::int as pages`,
  }
}

import { randomBytes } from 'node:crypto'
import type { Statement } from '../../core/index.ts'

/** History that a server holds, read over any connection: as texts, which are the same in each format. */
export interface HistoryRow {
  readonly epoch: string
  /** The epochs that this history has left, as a JSON array. */
  readonly past_epochs: string
  /** The epoch was made on another server. */
  readonly is_other: 'true' | 'false'
  readonly is_standby: 'true' | 'false'
  /** How often the lease asked for was renewed; null when there is no such lease. */
  readonly renewals: string | null
  /** The database's clock, in milliseconds of Unix time. */
  readonly now_ms: string
}

/** @returns the epochs that the history has left, oldest first */
export function pastEpochs(row: HistoryRow): readonly string[] {
  return JSON.parse(row.past_epochs) as string[]
}

/** @param node the lease whose renewals are counted; null: none */
export function readHistory(schema: string, node: string | null): Statement {
  return {
    // A backup of before the column came has none.
    text: `select m.epoch,
             coalesce(pg_catalog.to_jsonb(m) operator(pg_catalog.->>) 'past_epochs'::pg_catalog.text, '[]') as past_epochs,
             ${schema}.is_other_history()::pg_catalog.text as is_other,
             pg_catalog.pg_is_in_recovery()::pg_catalog.text as is_standby,
             (select n.renewals::pg_catalog.text from ${schema}.nodes n
              where n.node operator(pg_catalog.=) $1::pg_catalog.uuid) as renewals,
             (extract(epoch from pg_catalog.clock_timestamp()) operator(pg_catalog.*) 1000)
               ::pg_catalog.int8::pg_catalog.text as now_ms
           from ${schema}.meta m`,
    values: [node],
  }
}

/** Begins a new epoch if the one that stands is `expected`; answers the one that stands then. */
export function renewEpoch(schema: string, expected: string | null): Statement {
  return {
    text: `select ${schema}.renew_epoch($1::pg_catalog.text, $2::pg_catalog.text) as epoch`,
    values: [expected, newEpoch()],
  }
}

/** Whether the schema holds what `renewEpoch` needs. */
export function canRenewEpoch(schema: string): Statement {
  return {
    text: 'select pg_catalog.to_regprocedure($1) is not null as is_there',
    values: [`${schema}.renew_epoch(pg_catalog.text,pg_catalog.text)`],
  }
}

/** Short, since it travels with every position; random, since two histories must never share one. */
export function newEpoch(): string {
  return randomBytes(6).toString('base64url')
}

import { mutationPoint } from '../../protocol/mutation-point.ts'
import type { Statement } from '../../core/index.ts'
import type { OperationKey } from './operations.ts'
import { prepared } from './prepared.ts'

/** A place for the intents of one batch. A node counts its slots from 0. */
export interface IntentSlot {
  readonly node: string
  readonly slot: number
  /** Rises with each batch of a node, so that a statement that comes late never undoes a later one. */
  readonly batch: number
}

/**
 * Writes the intents of a batch over those that were in the slot; answers the operations with one of the ids that have an
 * outcome already, whoever's they are.
 * A surviving commit implies a surviving intent, because the intent's WAL precedes it, so the flush to disk need not be
 * waited for. The ids are hidden in a subquery: their number then makes no difference to the planner, which else plans
 * anew each time for a single one.
 */
export function writeIntents(schema: string, slot: IntentSlot, keys: readonly OperationKey[]): Statement {
  return writeBatch(schema, [
    slot.node,
    slot.slot,
    slot.batch,
    keys.map((key) => key.id),
    keys.map((key) => key.name),
    keys.map((key) => key.userId),
    keys.map((key) => key.inputHash),
  ])
}

const writeBatch = prepared('intents', (schema) => {
  const isOfBatch = mutationPoint('known id taken for a new one')
    ? 'false'
    : 'o.id = any((select $4::uuid[])::uuid[])'
  return `with written as (
             insert into ${schema}.intents as i (node, slot, batch, ids, names, user_ids, input_hashes)
             select $1::uuid, $2::int, $3::bigint, $4::uuid[], $5::text[], $6::text[], $7::text[]
             where set_config('synchronous_commit', 'off', true) = 'off'
             on conflict (node, slot) do update
             set batch = excluded.batch, ids = excluded.ids, names = excluded.names,
                 user_ids = excluded.user_ids, input_hashes = excluded.input_hashes,
                 started_at = excluded.started_at
             where i.batch < excluded.batch
           )
           select o.id, o.user_id as "userId" from ${schema}.operations o
           where ${isOfBatch}`
})

/** Empties slots of a node whose operations have all ended, unless a later batch has come since. */
export function clearIntents(
  schema: string,
  node: string,
  slots: readonly number[],
  lastBatch: number,
): Statement {
  return {
    text: `delete from ${schema}.intents where node = $1 and slot = any($2::int[]) and batch <= $3`,
    values: [node, slots, lastBatch],
  }
}

/** Ids of one user's operations that have started somewhere and have not ended, as far as intents tell. */
export function readOpen(schema: string, userId: string, ids: readonly string[]): Statement {
  return {
    text: `select k.id
           from ${schema}.intents i cross join lateral unnest(i.ids, i.user_ids) as k (id, user_id)
           where k.id = any($1::uuid[]) and k.user_id = $2 and ${hasNoOutcome(schema, 'k')}`,
    values: [ids, userId],
  }
}

const hasNoOutcome = (schema: string, operation: string): string => `not exists (
             select from ${schema}.operations o
             where o.id = ${operation}.id and o.user_id = ${operation}.user_id)`

/** An operation that a dead node left open; or an empty slot, whose operations have all ended. */
export interface OrphanRow {
  readonly node: string
  readonly id: string | null
  readonly name: string | null
  readonly userId: string | null
  readonly inputHash: string | null
}

// A lease that has run out is never renewed, and a node writes its lease before anything else.
const isDead = (schema: string): string => {
  const isItsLease = mutationPoint('living node taken for dead') ? 'false' : 'n.node = i.node'
  return `not exists (
             select from ${schema}.nodes n where ${isItsLease} and n.lease_until >= clock_timestamp())`
}

/**
 * Reads open operations and empty slots of nodes whose lease has run out or is gone.
 * @param except leases that are left out
 */
export function readOrphans(schema: string, limit: number, except: readonly string[] = []): Statement {
  return {
    text: `select i.node, k.id, k.name, k.user_id as "userId", k.input_hash as "inputHash"
           from ${schema}.intents i
           left join lateral (
             select u.id, u.name, u.user_id, u.input_hash
             from unnest(i.ids, i.names, i.user_ids, i.input_hashes) as u (id, name, user_id, input_hash)
             where ${hasNoOutcome(schema, 'u')}
           ) k on true
           where ${isDead(schema)} and i.node <> all($2::uuid[])
           order by i.node, i.slot, k.id, k.user_id limit $1`,
    values: [limit, except],
  }
}

/** Removes the slots of dead nodes all of whose operations have an outcome, however many nodes do so at once. */
export function forgetOrphans(schema: string): Statement {
  const isOpen = `exists (
             select from unnest(i.ids, i.user_ids) as u (id, user_id) where ${hasNoOutcome(schema, 'u')})`
  const isOver = mutationPoint('orphans forgotten before they are settled') ? 'true' : `not ${isOpen}`
  return { text: `delete from ${schema}.intents i where ${isDead(schema)} and ${isOver}` }
}

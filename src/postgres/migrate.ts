import { randomBytes } from 'node:crypto'
import { LockstepError, type Queryable } from '../core/index.ts'
import { quoteSchema } from './identifier.ts'
import { localSettings } from './own-connection.ts'
import { migrations } from './migrations.generated.ts'

/** Runs statements inside one transaction on one connection. */
export interface MigrationRunner extends Queryable {
  /** Several statements in one text, without parameters. */
  script(sql: string): Promise<void>
}

/**
 * Brings the schema up to this version, forward only. Must run inside one transaction; two at once wait for each
 * other on an advisory lock, which the transaction's end releases.
 * @throws LS_SCHEMA_NEWER when a newer version of Lockstep has migrated it
 */
export async function migrateSchema(runner: MigrationRunner, schemaName: string): Promise<void> {
  const schema = quoteSchema(schemaName)
  // Names in the migrations mean those of Postgres, and nobody's limit is meant for them.
  await runner.script(localSettings.join('; '))
  // As a script, since whoever comes second waits for as long as the first one's scripts take.
  await runner.script(`select pg_advisory_xact_lock(hashtextextended('lockstep.migrate.${schemaName}', 0))`)
  // Asked first: `create schema if not exists` wants the right to create one even when it is there.
  const { rows: found } = await runner.query({
    text: 'select from pg_namespace where nspname = $1',
    values: [schemaName],
  })
  if (found.length === 0) await runner.script(`create schema ${schema}`)
  await runner.script(`
    create table if not exists ${schema}.migrations (
      version integer primary key,
      name text not null,
      applied_at timestamptz not null default now()
    );`)
  const { rows } = await runner.query<{ version: number }>({
    text: `select version from ${schema}.migrations order by version`,
  })
  const applied = new Set(rows.map((row) => row.version))
  assertNotNewer(Math.max(0, ...applied), schemaName)
  for (const migration of migrations) {
    if (applied.has(migration.version)) continue
    await runner.script(migration.sql.replaceAll('{schema}', schema))
    await runner.query({
      text: `insert into ${schema}.migrations (version, name) values ($1, $2)`,
      values: [migration.version, migration.name],
    })
  }
  await renewEpochWhenHistoryChanged(runner, schema)
}

function assertNotNewer(version: number, schemaName: string): void {
  const known = migrations.at(-1)?.version ?? 0
  if (version <= known) return
  throw new LockstepError('LS_SCHEMA_NEWER', {
    message:
      `Schema "${schemaName}" is at version ${version}, this version of Lockstep knows up to ${known}. ` +
      `Install the version that migrated it, or a later one.`,
    details: { version, known },
  })
}

/**
 * Offsets belong to one history. A backup restored into another cluster, and a replica promoted to another
 * timeline, may lack the last commits of it, so both get a new epoch and clients reload.
 * Source: Postgres manual, "Control Data Functions".
 */
async function renewEpochWhenHistoryChanged(runner: Queryable, schema: string): Promise<void> {
  const { rows } = await runner.query<{ system_identifier: string; timeline: number }>({
    text: `select (select system_identifier::text from pg_control_system()) as system_identifier,
                  (select timeline_id from pg_control_checkpoint()) as timeline`,
  })
  const here = rows[0]
  await runner.query({
    text: `insert into ${schema}.meta as m (epoch, system_identifier, timeline) values ($1, $2, $3)
           on conflict (only_row) do update
           set epoch = excluded.epoch, system_identifier = excluded.system_identifier,
               timeline = excluded.timeline
           where (m.system_identifier, m.timeline)
             is distinct from (excluded.system_identifier, excluded.timeline)`,
    values: [newEpoch(), here?.system_identifier ?? null, here?.timeline ?? null],
  })
}

/** Short, since it travels with every position; random, since two histories must never share one. */
export function newEpoch(): string {
  return randomBytes(6).toString('base64url')
}

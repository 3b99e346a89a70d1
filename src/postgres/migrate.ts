import { LockstepError, type Queryable } from '../core/index.ts'
import { quoteSchema } from './identifier.ts'
import { localSettings } from './own-connection.ts'
import { migrations } from './migrations.generated.ts'
import { newEpoch } from './queries/history.ts'

/** Runs statements inside one transaction on one connection. */
export interface MigrationRunner extends Queryable {
  /** Several statements in one text, without parameters. */
  script(sql: string): Promise<void>
  /** Called before the first change that is left to do. */
  onChange?(): void
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
  // Lock in a script: a second node waits for as long as the scripts of the first take.
  await runner.script(`select pg_advisory_xact_lock(hashtextextended('lockstep.migrate.${schemaName}', 0))`)
  // Look for the schema first: `if not exists` wants the right to create even what is there.
  const { rows: found } = await runner.query<{ has_table: boolean }>({
    text: `select exists (select from pg_class c where c.relnamespace = n.oid and c.relname = 'migrations') as has_table
           from pg_namespace n where n.nspname = $1`,
    values: [schemaName],
  })
  if (found[0]?.has_table !== true) {
    runner.onChange?.()
    if (found.length === 0) await runner.script(`create schema ${schema}`)
    await runner.script(`
      create table ${schema}.migrations (
        version integer primary key,
        name text not null,
        applied_at timestamptz not null default now()
      );`)
  }
  const { rows } = await runner.query<{ version: number }>({
    text: `select version from ${schema}.migrations order by version`,
  })
  const applied = new Set(rows.map((row) => row.version))
  assertNotNewer(
    rows.reduce((newest, { version }) => Math.max(newest, version), 0),
    schemaName,
  )
  for (const migration of migrations) {
    if (applied.has(migration.version)) continue
    runner.onChange?.()
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
 * Offsets belong to one history. A backup restored into another cluster, a dump restored into the same one, and a replica
 * promoted to another timeline may lack the last commits of it, so each gets a new epoch and clients reload. What the
 * server does not tell is not compared, and is not forgotten.
 */
async function renewEpochWhenHistoryChanged(runner: Queryable, schema: string): Promise<void> {
  await runner.query({
    text: `insert into ${schema}.meta as m (epoch, system_identifier, timeline, place)
           select $1, h.system_identifier, h.timeline, ${schema}.place_of_meta() from ${schema}.server_history() h
           on conflict (only_row) do update
           set epoch = case when ${schema}.is_other_history() then excluded.epoch else m.epoch end,
               past_epochs = case when ${schema}.is_other_history()
                 then ${schema}.past_epochs_with(m.past_epochs, m.epoch) else m.past_epochs end,
               system_identifier = coalesce(excluded.system_identifier, m.system_identifier),
               timeline = coalesce(excluded.timeline, m.timeline),
               place = excluded.place
           where (m.system_identifier, m.timeline, m.place)
             is distinct from (excluded.system_identifier, excluded.timeline, excluded.place)`,
    values: [newEpoch()],
  })
}

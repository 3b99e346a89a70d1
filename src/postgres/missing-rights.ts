import { LockstepError, type Statement } from '../core/index.ts'

/** Rights of the role of a connection, as far as Lockstep needs them. Texts and flags only. */
export interface RightsRow {
  readonly role: string
  readonly database: string
  readonly has_schema: boolean
  readonly may_create_schema: boolean
  readonly may_use: boolean
  readonly may_create: boolean
  readonly may_write: boolean
  /** Owners of tables of the schema whose rights the role does not have, superusers left out. */
  readonly foreign_owners: string | null
  /** Superusers among those owners: nobody is to be made a member of one. */
  readonly super_owners: string | null
}

/** Asks for rights by the functions of Postgres: the text of its error may be in any language. */
export function askRights(schemaName: string): Statement {
  return {
    text: `
      select current_user::text as role, current_database()::text as database,
        n.oid is not null as has_schema,
        has_database_privilege(current_database(), 'create') as may_create_schema,
        coalesce(has_schema_privilege(n.oid, 'usage'), false) as may_use,
        coalesce(has_schema_privilege(n.oid, 'create'), false) as may_create,
        coalesce(bool_and(has_table_privilege(c.oid, 'select') and has_table_privilege(c.oid, 'insert')
          and has_table_privilege(c.oid, 'update') and has_table_privilege(c.oid, 'delete')), true) as may_write,
        string_agg(distinct c.relowner::regrole::text, ', ')
          filter (where not pg_has_role(c.relowner, 'usage') and not o.rolsuper) as foreign_owners,
        string_agg(distinct c.relowner::regrole::text, ', ')
          filter (where not pg_has_role(c.relowner, 'usage') and o.rolsuper) as super_owners
      from (select $1::text as name) as asked
      left join pg_namespace as n on n.nspname = asked.name
      left join pg_class as c on c.relnamespace = n.oid and c.relkind in ('r', 'p')
      left join pg_roles as o on o.oid = c.relowner
      group by n.oid`,
    values: [schemaName],
  }
}

interface Explained {
  readonly row: RightsRow
  readonly schemaName: string
  /** A migration is left to do, and was refused. */
  readonly isMigrating: boolean
}

/** The error with the statements that would give what is missing, to be run by an owner or a superuser. */
export function explainRights(
  error: LockstepError,
  { row, schemaName, isMigrating }: Explained,
): LockstepError {
  const grants = missingGrants(row, schemaName, isMigrating)
  // Look for owners: only an owner may alter a table, and to be a member of a superuser is to be one.
  const owners = isMigrating ? row.super_owners : null
  if (grants.length === 0 && owners === null) return error
  const advice = [
    ...(grants.length === 0 ? [] : [`Run as an owner or superuser: ${grants.join(' ')}`]),
    ...(owners === null ? [] : [adviceOnOwners(owners, row.role)]),
  ]
  return new LockstepError('LS_DATABASE_RIGHTS', {
    message: `${error.message}. ${advice.join(' ')}`,
    details: { ...error.details, grants },
    cause: error.cause ?? error,
  })
}

function adviceOnOwners(owners: string, role: string): string {
  return (
    `A migration is left to do, and tables of the schema belong to ${owners}: start one node as their owner, which migrates, ` +
    `and go on as ${quoted(role)}; or make ${quoted(role)} the owner of the schema, of its tables and of its functions.`
  )
}

function missingGrants(row: RightsRow, schemaName: string, isMigrating: boolean): string[] {
  const [role, schema] = [quoted(row.role), quoted(schemaName)]
  if (!row.has_schema) {
    return row.may_create_schema ? [] : [`grant create on database ${quoted(row.database)} to ${role};`]
  }
  const grants: string[] = []
  if (!row.may_use) grants.push(`grant usage on schema ${schema} to ${role};`)
  if (isMigrating && !row.may_create) grants.push(`grant create on schema ${schema} to ${role};`)
  if (!row.may_write) {
    grants.push(`grant select, insert, update, delete on all tables in schema ${schema} to ${role};`)
  }
  // Grant the owner's role: only an owner may alter a table.
  if (isMigrating && row.foreign_owners !== null) grants.push(`grant ${row.foreign_owners} to ${role};`)
  return grants
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

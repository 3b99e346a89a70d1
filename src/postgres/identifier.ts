import { LockstepError } from '../core/index.ts'

/**
 * A schema name, quoted for SQL. Names stay within what needs no escaping anywhere.
 * @throws LS_CONFIG_INVALID
 */
export function quoteSchema(name: string): string {
  if (!/^[a-z_][a-z0-9_]{0,62}$/.test(name) || name.startsWith('pg_')) {
    throw new LockstepError('LS_CONFIG_INVALID', {
      message: `"${name}" cannot be the schema: use lower case letters, digits and _, at most 63, not pg_…`,
      details: { schema: name },
    })
  }
  return `"${name}"`
}

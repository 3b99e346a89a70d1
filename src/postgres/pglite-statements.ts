import type {
  Isolation,
  Queryable,
  Rows,
  SavepointWatch,
  SqlClient,
  SqlResult,
  Statement,
} from '../core/index.ts'
import { ownParsers } from './own-types.ts'
import type { ConnectionRights, RoleWatch } from './role-restore.ts'
import { asOwn } from './role-restore.ts'
import { toOwnError } from './sqlstate.ts'
import { assertText, assertValues, refuseCallback } from './statement-arguments.ts'
import { toStatementError } from './statement-error.ts'
import type { TransactionGuard } from './transaction-guard.ts'
import { readUserStatement } from './user-statement.ts'
import { watched } from './watched.ts'

/** How statements go to PGlite: Lockstep's own, and those of the user's code. */

/** Sets the isolation level of a transaction that has begun: PGlite sends the BEGIN by itself. */
export function isolationLevel(isolation: Isolation): string {
  return `set transaction isolation level ${isolation}`
}

export interface PgliteResults {
  readonly rows: readonly unknown[]
  readonly affectedRows?: number
}

interface PgliteQueryOptions {
  readonly parsers?: Readonly<Record<number, (value: string) => unknown>>
}

export interface PgliteQueryable {
  query(text: string, values?: unknown[], options?: PgliteQueryOptions): Promise<PgliteResults>
  exec(text: string): Promise<unknown>
}

/** The part of a PGlite instance that the driver uses; Lockstep never installs PGlite itself. */
export interface PgliteLike extends PgliteQueryable {
  transaction<T>(work: (transaction: PgliteQueryable) => Promise<T>): Promise<T>
  /** Whether the application has closed it. */
  readonly closed?: boolean
}

export function toQueryable(target: PgliteQueryable, schemaName: string): Queryable {
  return {
    async query<Row>(statement: Statement): Promise<Rows<Row>> {
      try {
        return toRows<Row>(await sendOwn(target, statement))
      } catch (error) {
        throw toOwnError(error, schemaName)
      }
    },
  }
}

export function sendOwn(target: PgliteQueryable, { text, values = [] }: Statement): Promise<PgliteResults> {
  return target.query(text, [...values], { parsers: ownParsers })
}

export function toRows<Row>(results: PgliteResults): Rows<Row> {
  return { rows: results.rows as readonly Row[], count: countOf(results) }
}

// PGlite counts changed rows only; pg counts returned ones too.
export function countOf(results: PgliteResults): number {
  return Math.max(results.affectedRows ?? 0, results.rows.length)
}

/** The session of PGlite is its user's; only a transaction may have other rights. */
export const rights: ConnectionRights = { role: 'none' }

export async function readAsOwn<Row>(
  target: PgliteQueryable,
  statement: Statement,
  schemaName: string,
): Promise<Rows<Row>> {
  const { before, after } = asOwn(rights)
  await target.exec(before.join('; '))
  const rows = await toQueryable(target, schemaName).query<Row>(statement)
  await target.exec(after.join('; '))
  return rows
}

/** Callbacks by which a transaction hears of its statements. */
export interface StatementHooks {
  readonly roleWatch: RoleWatch
  readonly savepointWatch?: SavepointWatch
  readonly onError?: (error: unknown) => void
}

export function guarded(target: PgliteQueryable, guard: TransactionGuard, hooks?: StatementHooks): SqlClient {
  return {
    async query<Row>(
      text: string,
      values?: readonly unknown[],
      callback?: undefined,
    ): Promise<SqlResult<Row>> {
      guard.assertUsable()
      refuseCallback(typeof values === 'function' ? values : undefined, callback)
      assertText(text)
      assertValues(values)
      const savepoint = readUserStatement(text)
      const settle = savepoint === undefined ? undefined : hooks?.savepointWatch?.(savepoint)
      hooks?.roleWatch.see(text)
      const send = (): Promise<PgliteResults> =>
        target.query(text, [...(values ?? [])]).catch((error: unknown) => {
          const mappedError = toStatementError(error)
          hooks?.onError?.(mappedError)
          throw mappedError
        })
      const results = await (settle === undefined ? send() : watched(settle, send))
      return { rows: results.rows as Row[], rowCount: countOf(results) }
    },
  }
}

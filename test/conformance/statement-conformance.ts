import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { newOperationId, type Database, type SqlClient } from '../../src/core/index.ts'
import { toLockstepError } from '../../src/postgres/index.ts'
import type { DatabaseFixture } from './database-conformance.ts'

/** The contract of every driver for the statements that an operation's code sends. */
export function statementConformance(driver: string, open: () => Promise<DatabaseFixture>): void {
  describe(`statements of an operation: ${driver}`, () => {
    let fixture: DatabaseFixture
    let database: Database<SqlClient>

    beforeAll(async () => {
      fixture = await open()
      database = fixture.database
      await database.db.query('create table sent (n int)')
    })
    afterAll(() => fixture.close())

    it('reports each savepoint, by SQL and by scopes, once it was carried out', async () => {
      const told: string[] = []
      const transaction = await database.begin({ operationId: newOperationId() })
      transaction.watchSavepoints((savepoint) => {
        const text = `${savepoint.verb} ${savepoint.name}`
        told.push(`${text}?`)
        return (isCarriedOut) => told.push(isCarriedOut ? text : `${text}!`)
      })
      const { db } = transaction
      await db.query('savepoint A')
      await db.query('/* one */ savepoint "A b"')
      await db.query('select 1 / 0').catch(() => {})
      await db.query('release savepoint a').catch(() => {})
      await db.query('ROLLBACK WORK TO SAVEPOINT a')
      await db.query('release a')
      await expect(db.query('rollback to a')).rejects.toMatchObject({ code: '3B001' })
      await transaction.rollback()
      expect(told.join(', ')).toBe(
        'set a?, set a, set A b?, set A b, release a?, release a!, undo a?, undo a, release a?, release a, undo a?, undo a!',
      )

      told.length = 0
      const next = await database.begin({ operationId: newOperationId() })
      next.watchSavepoints(
        ({ verb }) =>
          (isCarriedOut) =>
            isCarriedOut && told.push(verb),
      )
      const kept = await next.savepoint()
      await kept.release()
      const undone = await next.savepoint()
      await undone.rollback()
      const failed = await next.savepoint()
      await failed.db.query('select 1 / 0').catch(() => {})
      await failed.release().catch(() => {})
      await next.rollback()
      expect(told).toEqual(['set', 'release', 'set', 'undo', 'set', 'undo'])
    })

    it('refuses several statements in one text, inside a transaction and outside, and keeps none of them', async () => {
      const text = `insert into sent values (1); commit; select 1`
      const refused = { code: 'LS_STATEMENT_UNSUPPORTED' }
      for (const first of [true, false]) {
        const transaction = await database.begin({ operationId: newOperationId() })
        if (!first) await transaction.db.query('select 1')
        await expect(transaction.db.query(text)).rejects.toMatchObject(refused)
        expect(toLockstepError(transaction.failure).code).toBe(refused.code)
        await transaction.rollback()
      }
      await expect(database.db.query(text)).rejects.toMatchObject(refused)
      await expect(database.snapshot(({ db }) => db.query(text))).rejects.toMatchObject(refused)
      expect((await database.db.query('select from sent')).rows).toEqual([])
    })

    it('refuses values that are no list, and a callback that is no function, and sends nothing', async () => {
      type Loose = (...given: unknown[]) => unknown
      const refusals: readonly [given: readonly unknown[], ...words: RegExp[]][] = [
        [['insert into sent values ($1)', 5], /a list/, /the number 5/, /\[value\]/],
        [['insert into sent values ($1)', '5'], /a list/, /the text "5"/],
        [['insert into sent values ($1)', { n: 5 }], /a list/, /an object with n/],
        [['insert into sent values ($1)', new Set([5])], /a list/, /a Set/],
        [['insert into sent values ($1)', [5], 'callback'], /function/, /the text "callback"/],
        [[5], /a text/, /number/],
        [[{ sql: 'insert into sent values (5)' }], /a text/],
        [[], /a text/],
      ]
      const refusesAll = async (query: Loose): Promise<void> => {
        for (const [given, ...words] of refusals) {
          const error = await Promise.resolve()
            .then(() => query(...given))
            .catch((thrown: unknown) => thrown)
          expect(error).toMatchObject({ code: 'LS_STATEMENT_UNSUPPORTED' })
          for (const word of words) expect((error as Error).message).toMatch(word)
        }
        await expect(query('select 1 as one', null)).resolves.toMatchObject({ rows: [{ one: 1 }] })
      }
      const transaction = await database.begin({ operationId: newOperationId() })
      await transaction.db.query('select 1')
      await refusesAll(transaction.db.query.bind(transaction.db) as Loose)
      expect(transaction.failure).toBeUndefined()
      await transaction.rollback()
      await refusesAll(database.db.query.bind(database.db) as Loose)
      expect((await database.db.query('select from sent')).rows).toEqual([])
    })

    it('remembers the first error that its statements met, until a savepoint before it is rolled back to', async () => {
      const transaction = await database.begin({ operationId: newOperationId() })
      const { db } = transaction
      expect(transaction.failure).toBeUndefined()
      await db.query('savepoint a')
      await db.query('select 1 / 0').catch(() => {})
      await db.query('select 1').catch(() => {})
      expect(transaction.failure).toMatchObject({ code: '22012' })
      await db.query('rollback to a')
      expect(transaction.failure).toBeUndefined()
      const scope = await transaction.savepoint()
      await scope.db.query('select 2 / 0').catch(() => {})
      expect(transaction.failure).toMatchObject({ code: '22012' })
      await scope.rollback()
      expect(transaction.failure).toBeUndefined()
      await db.query('select * from nothing').catch(() => {})
      expect(transaction.failure).toMatchObject({ code: '42P01' })
      await transaction.rollback()
    })
  })
}

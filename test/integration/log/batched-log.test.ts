// A second way of numbering, with offsets given in batches after the commit: no room but the log knows of it.
import pg from 'pg'
import { expect, test } from 'vitest'
import type { CreateLog, LogAppender } from '../../../src/log/index.ts'
import { describeLog } from '../../conformance/log-conformance.ts'
import { describeOperationsOver } from '../../conformance/numbering-conformance.ts'
import { batchedLogSql, createBatchedLog } from '../../support/batched-log.ts'
import { createTestDatabase } from '../../support/database.ts'
import { createWorld } from '../../support/world.ts'

describeLog('offsets given in batches', createBatchedLog, batchedLogSql)
describeOperationsOver('offsets given in batches', createBatchedLog, batchedLogSql)

test('a commit whose places are not answered is found out, answered with them, and heard', async () => {
  let failures = 0
  /** The places of each first question are lost. */
  const forgetful: CreateLog = (...given) => {
    const log = createBatchedLog(...given)
    const append: LogAppender = {
      flush: (...flushed) => {
        const asked = log.append.flush(...flushed)
        return {
          statement: asked.statement,
          emitted: asked.emitted,
          landed: () => {
            failures += 1
            return Promise.reject(new Error('the answer was lost'))
          },
        }
      },
      settle: (...settled) => log.append.settle(...settled),
      outcomesOf: (...asked) => log.append.outcomesOf(...asked),
      eventsOf: (found) => log.append.eventsOf(found),
    }
    return { ...log, append }
  }
  const database = await createTestDatabase()
  const pool = new pg.Pool({ connectionString: database.url, max: 1 })
  await pool.query(batchedLogSql)
  await pool.end()
  const world = await createWorld({ databaseUrl: database.url, createLog: forgetful })
  try {
    const outcome = await world.addNote.call({ room: 'a', id: 'a', text: 'hi' }, { user: 'ada' })
    expect(failures).toBe(1)
    expect(outcome).toMatchObject({
      outcome: 'committed',
      result: { id: 'a' },
      positions: { 'room:a': { offset: 1 } },
    })
    expect(await world.eventsOf('room:a')).toHaveLength(1)
    expect(await world.eventsOf('user:ada')).toEqual([])
  } finally {
    await world.close()
    await database.drop()
  }
})

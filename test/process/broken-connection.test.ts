// A connection that breaks in the very packet that made it ready: no code holds it yet, and the process must live on.
import pg from 'pg'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { fromPool } from '../../src/postgres/index.ts'
import { MessageReader } from '../faults/postgres-messages.ts'
import { createFaultProxy, type FaultProxy, type Interceptor, type Link } from '../faults/proxy.ts'
import { createTestDatabase, type TestDatabase } from '../support/database.ts'

let test: TestDatabase
let proxy: FaultProxy

/** Builds the message of a server whose administrator ends the connection. */
function terminated(): Buffer {
  const fields = Buffer.from(
    'SFATAL\0VFATAL\0C57P01\0Mterminating connection due to administrator command\0\0',
  )
  const header = Buffer.alloc(5)
  header.write('E')
  header.writeInt32BE(fields.length + 4, 1)
  return Buffer.concat([header, fields])
}

function breakWhenReady(link: Link): Interceptor {
  const reader = new MessageReader('server')
  return {
    up: (bytes) => link.pass('up', bytes),
    down(bytes) {
      const isReady = reader.read(bytes).some(({ type }) => type === 'Z')
      link.pass('down', isReady ? Buffer.concat([bytes, terminated()]) : bytes)
    },
  }
}

beforeAll(async () => {
  test = await createTestDatabase()
  const port = Number(new URL(test.url).port)
  proxy = await createFaultProxy({ target: () => port, intercept: breakWhenReady })
})
afterAll(async () => {
  await proxy.close()
  await test.drop()
})

it.each([true, false])('does not end the process (pipeline %s)', async (pipeline) => {
  const url = new URL(test.url)
  url.port = String(proxy.port)
  const pool = new pg.Pool({ connectionString: url.href, max: 2, pipeline })
  const broken: Error[] = []
  const database = fromPool(pool, { onConnectionError: (error) => broken.push(error) })
  // An `error` event without a listener would fail this test as an uncaught exception.
  await expect(database.begin({ operationId: 'never begun' })).rejects.toMatchObject({
    code: 'LS_CONNECTION_LOST',
  })
  expect(broken.length).toBeGreaterThan(0)
  await expect(database.own.query({ text: 'select 1' })).rejects.toMatchObject({ code: 'LS_CONNECTION_LOST' })
  await database.close()
  await pool.end()
})

// Statements that Lockstep sends on an operation's connection, in its flights, without the rest of Lockstep.
import type pg from 'pg'
import { fromPool, newOperationId } from '../../src/index.ts'
import { flushOperation } from '../../src/postgres/index.ts'
import { sendFlight } from '../../src/postgres/pg-flight.ts'
import { patient } from './child-host.ts'

interface Insert {
  readonly text: string
  readonly values: (channel: string) => unknown[]
}

/** `envelope` makes the data of the event from the id of the row. */
export async function statementsAlone(
  pool: pg.Pool,
  { text, values }: Insert,
  envelope: (id: string) => string,
): Promise<(channel: string) => Promise<void>> {
  const database = fromPool(pool, patient)
  await database.migrate()
  return async (channel) => {
    const id = newOperationId()
    const client = await pool.connect()
    try {
      const [inserted] = await sendFlight(client, {
        before: ['begin isolation level read committed', `set local lockstep.operation = '${id}'`],
        statement: { text, values: values(channel) },
        after: [],
      })
      const data = envelope((inserted.rows as readonly { id: string }[])[0]?.id ?? '')
      const key = { id, name: 'send_message', userId: 'ada', node: id, inputHash: 'send_message' }
      const flush = flushOperation(database.schema, key, data, [
        { channel: `room:${channel}`, type: 'noted', data },
      ])
      const [, committed] = await sendFlight(client, {
        before: [],
        statement: { name: flush.name ?? '', text: flush.text, values: [...(flush.values ?? [])] },
        after: ['commit'],
      })
      if (committed?.command !== 'COMMIT') throw new Error('rolled back')
    } finally {
      client.release()
    }
  }
}

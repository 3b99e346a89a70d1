import { randomUUID } from 'node:crypto'
import type { CommitResult, Database, SqlClient } from '../../src/core/index.ts'
import {
  flushOperation,
  readEvents,
  readOpen,
  readOperations,
  settleOperations,
  toEventRow,
  toFlushRow,
  toOperationRow,
  writeIntents,
  type IntentSlot,
  type OperationKey,
  type PendingEvent,
  type SettleRow,
} from '../../src/postgres/index.ts'
import type { Notice } from '../../src/protocol/index.ts'

const wholeLog = { after: 0, limit: 1_000, maxBytes: 2 ** 30 }

export type DatabaseWorld = ReturnType<typeof createDatabaseWorld>

/** Makes what the tests of a driver do with a database, which is open before the first of them. */
export function createDatabaseWorld(database: () => Database<SqlClient>) {
  const node = randomUUID()
  const key = (id: string = randomUUID()): OperationKey => ({
    id,
    name: 'test',
    userId: 'ada',
    node,
    inputHash: 'hash',
  })
  const notice = (id: string): Notice => ({
    transactionId: id,
    failedOperation: 'test',
    errorMessage: 'The operation failed.',
    errorCode: 'LS_OPERATION_FAILED',
    affectedLayers: ['database'],
    recoveryActions: ['retry'],
    userMessage: 'Not saved.',
  })
  let batches = 0
  /** Notes them as one batch, in a slot of its own unless told otherwise. @returns the ids that have an outcome */
  const start = async (operations: OperationKey | readonly OperationKey[], at: Partial<IntentSlot> = {}) => {
    batches += 1
    const slot = { node, slot: batches, batch: batches, ...at }
    const { rows } = await database().own.query<{ id: string }>(
      writeIntents(database().schema, slot, [operations].flat()),
    )
    return rows.map((row) => row.id)
  }
  const openOf = async (...operations: readonly OperationKey[]) => {
    const ids = operations.map(({ id }) => id)
    const { userId = '' } = operations[0] ?? {}
    const { rows } = await database().own.query<{ id: string }>(readOpen(database().schema, userId, ids))
    return rows.map((row) => row.id)
  }
  const flush = (operation: OperationKey, events: readonly PendingEvent[]) =>
    flushOperation(database().schema, operation, '{"ok":true}', events)
  const flushed = (ending: CommitResult, events: readonly PendingEvent[]) =>
    ending.ending === 'committed' ? toFlushRow(ending.flushed[0]?.rows[0], events) : ending.ending
  const settle = async (operation: OperationKey) => {
    const told = notice(operation.id)
    const events = [
      {
        channel: `user:${operation.userId}`,
        type: 'transaction_rolled_back',
        data: JSON.stringify(told),
      },
    ]
    const settlement = { key: operation, notice: told, events }
    const waits = { firstMs: 2_000, nextMs: 2_000 }
    const statement = settleOperations(database().schema, [settlement], waits)
    return (await database().own.query<SettleRow>(statement)).rows[0]
  }
  const eventsOf = async (channel: string) =>
    (await database().own.query(readEvents(database().schema, channel, wholeLog))).rows.map(toEventRow)
  const stateOf = async (id: string, userId = 'ada') =>
    (await database().own.query(readOperations(database().schema, userId, [id]))).rows.map(toOperationRow)[0]
  const hasThing = async (id: string) =>
    (await database().db.query('select 1 from things where id = $1', [id])).rows.length === 1
  const event = (channel: string, n: number): PendingEvent => ({
    channel,
    type: 'noted',
    data: JSON.stringify({ n, text: 'ü "\\ \u2028' }),
  })
  return {
    get database() {
      return database()
    },
    node,
    key,
    notice,
    start,
    openOf,
    flush,
    flushed,
    settle,
    eventsOf,
    stateOf,
    hasThing,
    event,
  }
}

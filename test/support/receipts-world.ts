import { createTestDatabase } from './database.ts'
import { createReceiptsPart, notePromises, receiptsTables } from './receipts-part.ts'
import { createWorld } from './world.ts'

/** Node on a database of its own, whose operations have receipts as their second part. */
export async function createReceiptsWorld() {
  const database = await createTestDatabase()
  const part = createReceiptsPart()
  const at = await createWorld({ databaseUrl: database.url, bus: false, parts: [part] })
  await at.direct.query(receiptsTables)
  await at.direct.query(notePromises)
  return {
    database,
    part,
    at,
    /** Receipts of one operation, in their order. */
    receiptsOf: (id: string) =>
      at.rows<{ label: string }>('select label from receipts where operation = $1 order by part, place', [
        id,
      ]),
    /** Types of the events of a channel, in their order. */
    typesOf: async (channel: string) => (await at.eventsOf(channel)).map(({ type }) => type),
    async close(): Promise<void> {
      await at.close()
      await database.drop()
    },
  }
}

export type ReceiptsWorld = Awaited<ReturnType<typeof createReceiptsWorld>>

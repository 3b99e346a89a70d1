// Databases whose encoding lacks characters: what Lockstep keeps there is ASCII, and means the same.
import { randomBytes } from 'node:crypto'
import { expect, inject, it } from 'vitest'
import { databaseUrl, dropDatabase } from '../../../tools/embedded-postgres/index.ts'
import { walkThrough } from '../../conformance/settings-conformance.ts'
import { openAdmin } from '../../support/settings-world.ts'
import { addReceipt, createReceiptsPart, receiptsTables } from '../../support/receipts-part.ts'
import { createWorld } from '../../support/world.ts'

async function withDatabase(encoding: string, use: (url: string) => Promise<void>): Promise<void> {
  const { url } = inject('postgres')
  const name = `lockstep_test_${randomBytes(6).toString('hex')}`
  const admin = await openAdmin(url)
  try {
    await admin.query(`create database ${name} template template0 encoding '${encoding}' locale 'C'`)
    await use(databaseUrl(url, name))
  } finally {
    await admin.end()
    await dropDatabase(url, name)
  }
}

it.each(['LATIN1', 'SQL_ASCII', 'EUC_JP', 'EUC_KR', 'EUC_CN'])(
  'the whole path is the same on a database in %s',
  { timeout: 60_000 },
  async (encoding) => {
    await withDatabase(encoding, async (url) => {
      await expect(walkThrough({ databaseUrl: url })).resolves.toBeUndefined()
    })
  },
)

it('events come over the bus of a database that lacks their characters', { timeout: 60_000 }, async () => {
  await withDatabase('LATIN1', async (url) => {
    const node = { bus: undefined, headCheckMs: 600_000 } as never
    await expect(walkThrough({ databaseUrl: url, node })).resolves.toBeUndefined()
  })
})

it('text of the application that the database cannot keep is refused, and its user learns why', async () => {
  await withDatabase('LATIN1', async (url) => {
    const world = await createWorld({ databaseUrl: url })
    try {
      const call = (id: string, text: string) => world.addNote.call({ room: '1', id, text }, { user: 'ada' })
      expect(await call('a', 'Grüße')).toMatchObject({ outcome: 'committed' })
      expect(await call('b', '你好')).toMatchObject({
        outcome: 'rolled_back',
        notice: { errorCode: 'LS_DATA_INVALID' },
      })
    } finally {
      await world.close()
    }
  })
})

it.each(['LATIN1', 'SQL_ASCII'])(
  'rows of a part keep their text on a database in %s, and its events mean the same',
  async (encoding) => {
    await withDatabase(encoding, async (url) => {
      const part = createReceiptsPart()
      const world = await createWorld({ databaseUrl: url, parts: [part] })
      try {
        await world.direct.query(receiptsTables)
        await world.lockstep.transaction({ name: 'receipts', user: 'ada' }, async (tx) => {
          addReceipt(tx, part, 'Grüße', 'room:1')
        })
        expect(await world.rows('select label from receipts')).toEqual([{ label: 'Grüße' }])
        expect(await world.eventsOf('room:1')).toMatchObject([{ data: { label: 'Grüße' } }])
      } finally {
        await world.close()
      }
    })
  },
)

it('a name beyond ASCII is the same name when its operation is sent again', async () => {
  await withDatabase('LATIN1', async (url) => {
    const world = await createWorld({ databaseUrl: url })
    try {
      const options = { name: 'Änderung – 変更', user: 'ada', id: '0197a6b0-0000-4000-8000-00000000000a' }
      for (const expected of ['first', 'first']) {
        expect(await world.lockstep.transaction(options, async () => 'first')).toBe(expected)
      }
    } finally {
      await world.close()
    }
  })
})

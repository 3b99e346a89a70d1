import pg from 'pg'
import { expect, it } from 'vitest'
import { createLockstep, fromPool } from '../../../src/index.ts'
import { centrifuge, connected, listen, serve } from '../../support/sockets.ts'
import { createWorld, declareRoom, secret } from '../../support/world.ts'

it('a node that nobody has started starts with its first connection, and hears the others', async () => {
  const other = await createWorld()
  const pool = new pg.Pool({ connectionString: other.url, max: 4 })
  const lockstep = createLockstep({ database: fromPool(pool), auth: { secret } })
  declareRoom(lockstep)
  const served = await serve({ lockstep })
  const client = await connected(centrifuge(served.url, 'ann'))
  const { inbox } = await listen(client, 'room:1')
  await other.addNote.call({ room: '1', id: 'n', text: 't' }, { user: 'ann' })
  await inbox.until((items) => items.length === 1)
  expect(inbox.items[0]).toMatchObject({ offset: 1 })
  client.disconnect()
  await lockstep.close()
  await served.close()
  await pool.end()
  await other.close()
})

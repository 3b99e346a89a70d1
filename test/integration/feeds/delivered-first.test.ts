import { afterAll, beforeAll, expect, it } from 'vitest'
import { centrifuge, connected, listen, serve, type Served } from '../../support/sockets.ts'
import { createWorld, room, type World } from '../../support/world.ts'

let world: World
let served: Served

beforeAll(async () => {
  world = await createWorld()
  served = await serve(world)
})
afterAll(async () => {
  await world.close()
  await served.close()
})

it('an event is with its subscribers before hooks and the caller go on, however long they take', async () => {
  const ada = await connected(centrifuge(served.url, 'ada'))
  const { inbox } = await listen(ada, 'room:1')
  const written: number[] = []
  await world.lockstep.transaction({ name: 'note', user: 'bob' }, async (tx) => {
    await tx.db.query('select 1')
    tx.emit(room({ id: '1' }), 'counted', { n: 1 })
    tx.afterCommit(() => void written.push(served.bytesWritten()))
    written.push(served.bytesWritten())
  })
  written.push(served.bytesWritten())
  const [before = 0, inHook = 0, afterwards = 0] = written
  expect(inHook).toBeGreaterThan(before)
  expect(afterwards).toBe(inHook)
  await inbox.until((items) => items.length === 1)
  ada.disconnect()
})

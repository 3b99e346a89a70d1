import pg from 'pg'
import { expect, it } from 'vitest'
import { fromPool, newOperationId, silentLogger } from '../../../src/index.ts'
import { LockstepNode, Callables } from '../../../src/node/index.ts'

it('a node that has not started yet says that it is starting, and one that was closed that it stops', async () => {
  const database = fromPool(new pg.Pool({ connectionString: 'postgres://127.0.0.1:1/none', max: 1 }))
  const node = new LockstepNode({ database, logger: silentLogger, bus: false }, new Callables(), [])
  const call = () =>
    node.rooms.coordinator.run({
      id: newOperationId(),
      name: 'early',
      since: node.rooms.coordinator.earliestArrival,
      user: { id: 'ada' },
      inputHash: '',
      rollback: {},
      intent: true,
      repeat: undefined,
      signal: undefined,
      timeoutMs: undefined,
      origin: undefined,
      work: async () => {},
    })
  await expect(call()).rejects.toMatchObject({
    code: 'LS_NODE_STARTING',
    retryable: true,
    message: 'The server is still starting. Send it again in a moment.',
  })
  await node.close(0)
  await expect(call()).rejects.toMatchObject({ code: 'LS_NODE_STOPPING' })
})

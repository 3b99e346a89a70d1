// Parts that fail or contribute nonsense: nothing but their own operations suffers.
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { newOperationId } from '../../../src/index.ts'
import { limits } from '../../../src/protocol/index.ts'
import { handleIn, type Part, type PartEvent, type PartScope } from '../../../src/transaction/index.ts'
import { addReceipt, leavePromise, withdrawnType } from '../../support/receipts-part.ts'
import { createReceiptsWorld, type ReceiptsWorld } from '../../support/receipts-world.ts'
import { createWorld } from '../../support/world.ts'

let world: ReceiptsWorld
let { database, part, at, receiptsOf, typesOf } = {} as ReceiptsWorld
beforeEach(async () => {
  world = await createReceiptsWorld()
  ;({ database, part, at, receiptsOf, typesOf } = world)
})
afterEach(() => world.close())

describe('a part that misbehaves', () => {
  const withPart = (...parts: readonly Part<unknown>[]) =>
    createWorld({ databaseUrl: database.url, bus: false, poolSize: 2, parts: [part, ...parts] })

  it('costs no connection when it cannot be opened', async () => {
    const other = await withPart({
      name: 'closed',
      open() {
        throw new Error('closed today')
      },
    })
    for (let n = 0; n < 5; n += 1) {
      const call = other.lockstep.transaction({ name: 'receipts', user: 'ada' }, async () => {})
      await expect(call).rejects.toThrow('closed today')
    }
    expect(other.pool.idleCount).toBe(other.pool.totalCount)
    await other.close()
  })

  it.each([
    ['no channel', { channel: '', type: 'x', value: 1 }, 'LS_CHANNEL_NAME_INVALID'],
    ['no JSON', { channel: 'room:a', type: 'x', value: 1n }, 'LS_EVENT_INVALID'],
    [
      'too much',
      { channel: 'room:a', type: 'x', value: 'x'.repeat(limits.maxEventBytes) },
      'LS_EVENT_TOO_LARGE',
    ],
  ])('may not leave what a settlement could not append: %s', async (_, event, code) => {
    const leaving: Part<PartScope> = { name: 'leaving', open: (scope) => scope }
    const other = await withPart(leaving)
    const id = newOperationId()
    const failed = other.lockstep.transaction({ name: 'receipts', user: 'ada', id }, async (tx) => {
      await leavePromise(tx, part, 'room:a')
      await handleIn(tx, leaving).appendOnRollback({ ...event, key: 'wrong' })
    })
    await expect(failed).rejects.toMatchObject({ code })
    expect(await typesOf('user:ada')).toHaveLength(1)
    expect(await typesOf('room:a')).toEqual([withdrawnType])
    await other.close()
  })

  it('is held to the limits of events, and to channels that exist', async () => {
    const many = Array.from({ length: limits.maxOperationEvents }, () => ({
      channel: 'room:a',
      type: 'x',
      value: 1,
    }))
    const wrong: readonly [readonly PartEvent[], string][] = [
      [[...many, ...many.slice(0, 1)], 'LS_OPERATION_TOO_LARGE'],
      [[{ channel: '', type: 'x', value: 1 }], 'LS_CHANNEL_NAME_INVALID'],
      [[{ channel: 'room:a', type: 'x', value: 'x'.repeat(limits.maxEventBytes) }], 'LS_EVENT_TOO_LARGE'],
    ]
    for (const [events, code] of wrong) {
      const other = await withPart({ name: 'wrong', open: () => ({}), events: () => events })
      const call = other.lockstep.transaction({ name: 'receipts', user: 'ada' }, async () => {})
      await expect(call).rejects.toMatchObject({ code })
      await other.close()
    }
    expect(await typesOf('room:a')).toEqual([])
  })

  it('does not keep another one from hearing of a commit', async () => {
    const deaf: Part<unknown> = {
      name: 'deaf',
      open: () => ({}),
      committed() {
        throw new Error('deaf')
      },
    }
    const other = await createWorld({ databaseUrl: database.url, bus: false, parts: [deaf, part] })
    await other.lockstep.transaction({ name: 'receipts', user: 'ada' }, async (tx) => {
      addReceipt(tx, part, 'heard')
    })
    expect(part.told).toHaveLength(1)
    expect(other.logger.lines.filter(({ fields }) => fields['part'] === 'deaf')).toHaveLength(1)
    await other.close()
  })

  it('adds nothing once the code of its operation has ended, also by a handle that it has kept', async () => {
    let late: (() => void) | undefined
    const id = newOperationId()
    await at.lockstep.transaction({ name: 'receipts', user: 'ada', id }, async (tx) => {
      addReceipt(tx, part, 'in time', 'room:a')
      const handle = handleIn(tx, part)
      late = () => handle.add({ label: 'late', channel: 'room:a' })
    })
    expect(late).toThrow(expect.objectContaining({ code: 'LS_TRANSACTION_CLOSED' }))
    expect(await receiptsOf(id)).toHaveLength(1)
  })
})

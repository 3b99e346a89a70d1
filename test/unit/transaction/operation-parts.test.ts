import { expect, it } from 'vitest'
import { OperationParts } from '../../../src/transaction/operation/operation-parts.ts'
import { createReceiptsPart } from '../../support/receipts-part.ts'

const operation = { operationId: '01890000-0000-7000-8000-000000000000', user: { id: 'ada' } } as const

it('a part whose rollback event is written when the code of its operation has ended shows nothing', async () => {
  let written = (): void => {}
  const writing = new Promise<void>((resolve) => (written = resolve))
  const part = createReceiptsPart()
  const parts = new OperationParts(
    { ...operation, mode: 'enforce', node: operation.operationId, intent: undefined },
    [part],
    { add: () => writing },
  )
  const left = parts.handleOf(part).promise('room:a')
  parts.close()
  written()
  await expect(left).rejects.toMatchObject({ code: 'LS_TRANSACTION_CLOSED' })
})

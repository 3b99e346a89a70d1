import type { NodeLease } from '../cluster/index.ts'
import { DraftsPart, DraftWriter, previousDrafts } from '../drafts/index.ts'
import { LockstepError, type UserContext } from '../core/index.ts'
import type { Deliveries, OngoingSource } from '../feeds/index.ts'
import type { OpenDraft, StreamPosition } from '../protocol/index.ts'
import { readPreviousDrafts, type PreviousDraftRow } from '../postgres/index.ts'
import type { StepDraftPorts } from '../runs/index.ts'
import { createNotice, type Settler } from '../transaction/index.ts'
import type { Base } from './durations.ts'

/** Makes the room of the drafts. */
export function createDrafts(base: Base, lease: NodeLease, deliveries: Deliveries) {
  const writer = new DraftWriter({
    ...base,
    push: deliveries.deliverTransient,
    mayShow: () => lease.state === 'held',
  })
  return { writer, part: new DraftsPart(base.schema, writer) }
}

/** Ports by which the steps of runs show drafts. */
export function stepDrafts(
  { own, schema }: Base,
  { writer, part }: ReturnType<typeof createDrafts>,
  settler: Settler,
): StepDraftPorts {
  return {
    writer,
    part,
    async retract(operation) {
      const { id: operationId, name: operationName } = operation
      const notice = createNotice({
        operationId,
        operationName,
        rollback: {},
        code: 'LS_OPERATION_FAILED',
        affectedLayers: ['websocket'],
      })
      // Quiet: the run goes on, and tells of its own end.
      await settler.settle({ ...operation, inputHash: operationName }, notice, 'off')
    },
    async previous(run, attempt) {
      const { rows } = await own.query<PreviousDraftRow>(readPreviousDrafts(schema, run, attempt))
      return previousDrafts(rows, attempt)
    },
  }
}

interface OpenDraftsPorts {
  readonly ongoing: OngoingSource
  readonly authorizeSubscription: (user: UserContext, channel: string) => Promise<void>
  readonly epoch: () => string
}

/** Answer of `lockstep.drafts`. */
interface OpenDraftsAnswer {
  readonly drafts: readonly OpenDraft[]
  readonly position: StreamPosition
}

/** Handler of `lockstep.drafts`. It throws LS_INPUT_INVALID, and as a subscription to the channel is refused. */
export function openDrafts({ ongoing, authorizeSubscription, epoch }: OpenDraftsPorts) {
  return async (user: UserContext, channel: unknown): Promise<OpenDraftsAnswer> => {
    if (typeof channel !== 'string')
      throw new LockstepError('LS_INPUT_INVALID', { message: 'channel: expected the name of a channel' })
    await authorizeSubscription(user, channel)
    const { head, drafts } = await ongoing.read(channel)
    return {
      drafts: drafts.map((draft) => ({ ...draft, from: 1 })),
      position: { offset: head, epoch: epoch() },
    }
  }
}

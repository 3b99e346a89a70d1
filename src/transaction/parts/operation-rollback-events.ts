import { LockstepError } from '../../core/index.ts'
import type { OperationKey } from '../../postgres/index.ts'
import { toPendingEvent, type PartEvent } from './part-event.ts'
import type { RollbackEventWriter } from './rollback-event-writer.ts'

/** An event that is appended if the operation is rolled back. */
export interface OnRollback extends PartEvent {
  /** Names it among those of its part: of one key one event is appended, however often it was asked for. */
  readonly key: string
}

/** Facts of an operation that its rollback events need. */
export interface RollbackEventsScope {
  readonly key: OperationKey
  /** Settles to whether the id has no outcome yet. Absent when no intent is written. */
  readonly intent: Promise<boolean> | undefined
  /** Source of the signal, which is made when it is asked for: hardly any operation has such events. */
  readonly interruption: { readonly signal: AbortSignal }
}

/** Events that a settlement appends if it rolls one operation back: those of all its attempts. */
export class OperationRollbackEvents {
  readonly #writer: RollbackEventWriter
  readonly #scope: RollbackEventsScope
  #hasAny = false

  constructor(writer: RollbackEventWriter, scope: RollbackEventsScope) {
    this.#writer = writer
    this.#scope = scope
  }

  /** Whether rows may stand in the database, which go with the commit. */
  get hasAny(): boolean {
    return this.#hasAny
  }

  /** @throws as `PartScope.appendOnRollback` */
  async add(part: string, onRollback: OnRollback): Promise<void> {
    const { key: operation, intent, interruption } = this.#scope
    const event = toPendingEvent(onRollback)
    if (intent === undefined) {
      throw new LockstepError('LS_CONFIG_INVALID', {
        message:
          `The operation "${operation.name}" shows something before it has committed, which needs an intent: another ` +
          'node takes it back if this one dies. Declare the operation without `intent: false`.',
      })
    }
    if (!(await intent)) throw new LockstepError('LS_OPERATION_FENCED')
    this.#hasAny = true
    await this.#writer.write({ operation, part, key: onRollback.key, ...event }, interruption.signal)
  }
}

import { Listeners, type ErrorListener, type Off } from './listeners.ts'
import { factsOf, type Operation } from './operation.ts'
import type { StoredOperation } from './stored-operations.ts'
import type { OperationState, PendingOperation } from './pending-operation.ts'

/** Calls that may be without an outcome, so that a page that goes on calling without a server does not fill its memory. */
export const pendingLimits = {
  maxPendingCalls: 10_000,
  /** Bytes of their inputs together, as JSON in UTF-8. */
  maxPendingBytes: 16 * 1024 * 1024,
} as const

/** Memory of the operations without an outcome, in the order they were called. */
export class OpenOperations {
  readonly #byId = new Map<string, Operation>()
  readonly #onChange: Listeners<[readonly PendingOperation[]]>
  /** Size of all inputs. */
  #bytes = 0
  #snapshot: readonly PendingOperation[] | undefined

  constructor(onError: ErrorListener) {
    this.#onChange = new Listeners(onError)
  }

  /** Open operations: the same array until it changes. */
  get snapshot(): readonly PendingOperation[] {
    this.#snapshot ??= [...this.all()].map((operation) => ({ ...factsOf(operation), state: operation.state }))
    return this.#snapshot
  }

  onChange(listener: (pending: readonly PendingOperation[]) => void): Off {
    return this.#onChange.add(listener)
  }

  all(): Iterable<Operation> {
    return this.#byId.values()
  }

  get(id: string): Operation | undefined {
    return this.#byId.get(id)
  }

  /** Tells whether the operation has no outcome yet; false also for the earlier one of two with the same id. */
  has(operation: Operation): boolean {
    return this.get(operation.id) === operation
  }

  hasRoom(bytes: number): boolean {
    return (
      this.#byId.size < pendingLimits.maxPendingCalls && this.#bytes + bytes <= pendingLimits.maxPendingBytes
    )
  }

  /** Leaves telling the listeners to the caller, who may add more. */
  add(stored: StoredOperation, bytes: number, isOwn: boolean): Operation {
    const operation: Operation = {
      ...factsOf(stored),
      bytes,
      isOwn,
      state: isOwn ? 'queued' : 'unknown',
      attempts: 0,
      sentBefore: false,
    }
    this.#byId.set(operation.id, operation)
    this.#bytes += bytes
    return operation
  }

  delete(operation: Operation): void {
    if (this.#byId.delete(operation.id)) this.#bytes -= operation.bytes
    this.changed()
  }

  clear(): void {
    this.#byId.clear()
    this.#bytes = 0
    this.changed()
  }

  move(operation: Operation, state: OperationState): void {
    operation.state = state
    this.changed()
  }

  changed(): void {
    this.#snapshot = undefined
    if (this.#onChange.size > 0) this.#onChange.emit(this.snapshot)
  }
}

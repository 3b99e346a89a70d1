import { operationKey, type LockstepError, type OperationRef } from '../../core/index.ts'
import type { OpenOperation } from './open-operation.ts'

/** Operations that this process works on, each until its outcome stands in the database. The oldest comes first. */
export class OpenOperations<Answer> {
  readonly #byKey = new Map<string, OpenOperation<Answer>>()

  get count(): number {
    return this.#byKey.size
  }

  get oldest(): OpenOperation<Answer> | undefined {
    const [oldest] = this.#byKey.values()
    return oldest
  }

  /** Leases under which they began: the node's own, and older ones that it has lost. */
  get leases(): readonly string[] {
    return [...new Set([...this.#byKey.values()].map(({ key }) => key.node))]
  }

  find(operation: OperationRef): OpenOperation<Answer> | undefined {
    return this.#byKey.get(operationKey(operation))
  }

  add(operation: OpenOperation<Answer>): void {
    this.#byKey.set(operationKey(operation.key), operation)
  }

  remove(operation: OpenOperation<Answer>): void {
    this.#byKey.delete(operationKey(operation.key))
  }

  interruptAll(reason: LockstepError): void {
    for (const { interruption } of this.#byKey.values()) interruption.interrupt(reason)
  }

  /** Settles when this process has nothing left to do for those that are open now. */
  async ended(): Promise<void> {
    await Promise.all([...this.#byKey.values()].map(({ ended }) => ended))
  }
}

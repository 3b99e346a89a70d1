import { AsyncLocalStorage } from 'node:async_hooks'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { ErrorCode, Logger } from '../../core/index.ts'

/** An operation whose code runs, as what that code calls sees it. */
export interface GuardedOperation {
  readonly name: string
  /** Stack of the place where the operation was called. */
  readonly origin: Error | undefined
  readonly isOpen: () => boolean
}

/** Warnings are told once for each place; beyond so many places, no more. */
const mostPlaces = 1_000

/**
 * Notices what code of an operation does beside its transaction: calls another operation, or uses the application's own pool.
 * Both commit although the operation rolls back, and both can wait for what the operation itself holds. For development
 * alone: following the code across its promises costs more than production should pay.
 */
export class OperationGuard {
  readonly #logger: Logger
  readonly #running = new AsyncLocalStorage<GuardedOperation>()
  readonly #warned = new Set<string>()

  constructor(logger: Logger) {
    this.#logger = logger
  }

  run<T>(operation: GuardedOperation, work: () => T): T {
    return this.#running.run(operation, work)
  }

  /** An operation is called; answers what `run` wants to know of it. */
  called(name: string): Error {
    const here = new Error(`operation "${name}" was called here`)
    const outer = this.#running.getStore()
    if (outer?.isOpen() === true) {
      this.#warn('LS_OPERATION_NESTED', outer, here, {
        inner: name,
        words:
          `"${name}" was called inside "${outer.name}" and would commit on its own. ` +
          `Write ${name}.within(tx, input), or tx.transaction(work) for one that is not declared.`,
      })
    }
    return here
  }

  /** A connection is taken from the application's own pool. */
  poolUsed(): void {
    const outer = this.#running.getStore()
    if (outer?.isOpen() !== true) return
    this.#warn('LS_OUTSIDE_TRANSACTION', outer, new Error('the pool was used here'), {
      words:
        `A statement went to your own pool while operation "${outer.name}" has a transaction open, ` +
        `so it would not roll back with it. Use tx.db.`,
    })
  }

  #warn(
    code: ErrorCode,
    outer: GuardedOperation,
    here: Error,
    { words, inner }: { readonly words: string; readonly inner?: string },
  ): void {
    const place = placeOf(here)
    const key = `${code} ${outer.name} ${inner ?? ''} ${place}`
    if (this.#warned.has(key) || this.#warned.size >= mostPlaces) return
    this.#warned.add(key)
    const fields = { operation: outer.name, stack: here.stack, operationStack: outer.origin?.stack }
    this.#logger.warn(
      { code, ...(inner === undefined ? {} : { inner }), ...fields },
      `${code} ${words} At: ${place}. Operation at: ${placeOf(outer.origin)}.`,
    )
  }
}

const ownFolder = dirname(dirname(dirname(fileURLToPath(import.meta.url))))

/** The first line of a stack that is not Lockstep's own, nor the pool's. */
function placeOf(error: Error | undefined): string {
  const lines = error?.stack?.split('\n').slice(1) ?? []
  const place = lines.find(
    (line) => !line.includes(ownFolder) && !line.includes('node_modules') && !line.includes('node:'),
  )
  return place?.trim().replace(/^at /, '') ?? 'an unknown place'
}

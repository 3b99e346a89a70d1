import { messageOf, type Clock, type Logger } from '../core/index.ts'
import type { OperationKey } from '../postgres/index.ts'
import { createNotice, type RollbackOptions } from './notice.ts'
import type { Settler } from './settlement.ts'

export interface OrphanWatchOptions {
  readonly settler: Settler
  readonly clock: Clock
  readonly logger: Logger
  /** What the definition of an operation says of its rollback, where this node knows it. */
  readonly rollbackOf: (operationName: string) => RollbackOptions
  /** Leases under which something still runs on this node: it is not dead, whatever has become of them. */
  readonly openLeases: () => readonly string[]
  /** Default 1,000. */
  readonly intervalMs?: number
}

const batch = 200

/** Settles, round after round, what dead nodes left open. Every node watches; the database lets one decide. */
export class OrphanWatch {
  readonly #options: OrphanWatchOptions
  #cancelTimer: (() => void) | undefined
  #round: Promise<void> = Promise.resolve()
  #closed = false

  constructor(options: OrphanWatchOptions) {
    this.#options = options
  }

  start(): void {
    this.#schedule(0)
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#cancelTimer?.()
    await this.#round
  }

  #schedule(delayMs: number): void {
    if (this.#closed) return
    this.#cancelTimer = this.#options.clock.after(delayMs, () => {
      this.#round = this.#settleAll().finally(() => this.#schedule(this.#options.intervalMs ?? 1_000))
    })
  }

  async #settleAll(): Promise<void> {
    const { settler, logger, openLeases } = this.#options
    const settle = (): Promise<number> =>
      settler.settleOrphans({
        noticeFor: (key) => this.#noticeFor(key),
        limit: batch,
        except: openLeases(),
        isStopping: () => this.#closed,
      })
    try {
      // A full batch means that there may be more; where some could not be settled, the next round reads them again.
      while (!this.#closed && (await settle()) === batch);
    } catch (error) {
      logger.warn({ error: messageOf(error) }, 'the operations of dead nodes were not read')
    }
  }

  #noticeFor(key: OperationKey): ReturnType<typeof createNotice> {
    return createNotice({
      operationId: key.id,
      operationName: key.name,
      rollback: this.#options.rollbackOf(key.name),
      code: 'LS_OPERATION_INTERRUPTED',
      affectedLayers: ['database', 'websocket'],
    })
  }
}

import { mutationPoint } from '../../protocol/mutation-point.ts'
import { messageOf, Repeat } from '../../core/index.ts'
import type { OperationKey } from '../../postgres/index.ts'
import { createNotice, type RollbackOptions } from './notice.ts'
import { OrphanSettlement, type OrphanSettlementOptions } from './orphan-settlement.ts'

export interface OrphanWatchOptions extends OrphanSettlementOptions {
  /** Finds the rollback options in an operation's definition, where this node knows it. */
  readonly rollbackOf: (operationName: string) => RollbackOptions
  /** Leases under which something still runs on this node: it is not dead, whatever has become of them. */
  readonly openLeases: () => readonly string[]
  /** Default 1,000. */
  readonly intervalMs?: number
}

const batch = 200

/** Settles, round after round, what dead nodes left open. Every node watches; the database lets one decide. */
export class OrphanWatch {
  readonly #orphans: OrphanSettlement
  readonly #rollbackOf: (operationName: string) => RollbackOptions
  readonly #openLeases: () => readonly string[]
  readonly #rounds: Repeat

  constructor({
    settler,
    own,
    schema,
    clock,
    logger,
    probe,
    rollbackOf,
    openLeases,
    intervalMs = 1_000,
  }: OrphanWatchOptions) {
    this.#orphans = new OrphanSettlement({ settler, own, schema, clock, logger, probe })
    this.#rollbackOf = rollbackOf
    this.#openLeases = openLeases
    this.#rounds = new Repeat({
      clock,
      everyMs: intervalMs,
      work: () => this.#settleAll(),
      onError: (error) =>
        logger.warn({ error: messageOf(error) }, 'the operations of dead nodes were not read'),
    })
  }

  start(): void {
    if (mutationPoint('orphans left open')) return
    this.#rounds.start(0)
  }

  close(): Promise<void> {
    return this.#rounds.close()
  }

  async #settleAll(): Promise<void> {
    const settle = (): Promise<number> =>
      this.#orphans.settleAll({
        noticeFor: (key) => this.#noticeFor(key),
        limit: batch,
        except: this.#openLeases(),
        isStopping: () => this.#rounds.isStopped,
      })
    // A full batch means that there may be more; where some could not be settled, the next round reads them again.
    while (!this.#rounds.isStopped && (await settle()) === batch);
  }

  #noticeFor(key: OperationKey): ReturnType<typeof createNotice> {
    return createNotice({
      operationId: key.id,
      operationName: key.name,
      rollback: mutationPoint('orphan reported in no words of its own') ? {} : this.#rollbackOf(key.name),
      code: 'LS_OPERATION_INTERRUPTED',
      affectedLayers: ['database', 'websocket'],
    })
  }
}

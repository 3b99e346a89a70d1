import { messageOf, type Logger } from '../../core/index.ts'
import type { FoundCommit, LogAppender, StoredEvent } from '../../log/index.ts'
import { mutationPoint } from '../../protocol/mutation-point.ts'
import type { AttemptResult } from './attempt-result.ts'
import type { OperationTrace } from './operation-trace.ts'

type Committed = Extract<AttemptResult<unknown>, { ending: 'committed' }>

export interface CommitDeliveryOptions {
  readonly log: Pick<LogAppender, 'eventsOf'>
  readonly logger: Logger
  /** Takes committed events to their subscribers. */
  readonly deliver: (events: readonly StoredEvent[], epoch: string) => void
}

/** Takes the events of a commit to their subscribers, and what its rows answered to the parts. */
export class CommitDelivery {
  readonly #log: CommitDeliveryOptions['log']
  readonly #logger: Logger
  readonly #deliver: CommitDeliveryOptions['deliver']

  constructor({ log, logger, deliver }: CommitDeliveryOptions) {
    this.#log = log
    this.#logger = logger
    this.#deliver = deliver
  }

  /** Delivers a commit whose reply has come. */
  committed(operationId: string, ending: Committed, epoch: string, trace: OperationTrace): void {
    trace.publish(ending.landed.events, (events) => this.#deliver(events, epoch))
    ending.notifyParts((part, error) => {
      this.#logger.error({ operationId, part, error }, 'a part failed on the answers to a commit')
    })
  }

  /**
   * Delivers the events of a commit that was found out; where this fails, the comparison of heads finds them a little
   * later.
   */
  async found(found: FoundCommit, epoch: string): Promise<void> {
    try {
      const events = await this.#log.eventsOf(found)
      if (mutationPoint('commit that is found out later delivered to nobody')) return
      if (events.length > 0) this.#deliver(events, epoch)
    } catch (error) {
      const { operationId } = found
      this.#logger.warn({ operationId, error: messageOf(error) }, 'events of a found commit were not read')
    }
  }
}

import { StepDrafts, type DraftStep } from '../../drafts/index.ts'
import type { Execution } from './execution.ts'
import { stepOperationId } from './step-commit.ts'
import type { StepDraftPorts } from './step-draft-ports.ts'

/** Drafts of one step. Each try to commit the step is an operation of its own, so a new try shows the drafts under its own id. */
export class StepShowing {
  readonly #execution: Execution
  readonly #ports: StepDraftPorts
  readonly #step: string
  #drafts: StepDrafts | undefined

  constructor(execution: Execution, ports: StepDraftPorts, step: string) {
    this.#execution = execution
    this.#ports = ports
    this.#step = step
  }

  /** Opens drafts for work whose value is committed by the try with this number. */
  begin(number: number): StepDrafts {
    this.#drafts?.close()
    const { id, attempt, channelOf } = this.#execution
    const run = { id, step: this.#step }
    const { writer } = this.#ports
    this.#drafts = new StepDrafts({ writer, channel: channelOf, run, attempt }, this.#operation(number))
    return this.#drafts
  }

  /** Drafts that this try commits. A try that was rolled back took its drafts along, so the next one shows them again. */
  placesFor(number: number): DraftStep['places'] {
    const drafts = this.#drafts
    if (drafts === undefined || drafts.places.length === 0) return []
    const operation = this.#operation(number)
    if (drafts.operation.id !== operation.id) drafts.showAs(operation)
    return drafts.places
  }

  /** Shows nothing more. @returns whether anything was shown */
  end(): boolean {
    const drafts = this.#drafts
    this.#drafts = undefined
    drafts?.close()
    return drafts !== undefined && drafts.places.length > 0
  }

  /** Takes back what work has shown that threw: nothing commits it any more. @throws database errors */
  retract({ operation }: StepDrafts): Promise<void> {
    return this.#ports.retract({ ...operation, name: this.#execution.claimed.task.name })
  }

  #operation(number: number): StepDrafts['operation'] {
    const { id, attempt, claimed } = this.#execution
    const operation = stepOperationId({ run: id, name: this.#step, attempt }, number)
    return { id: operation, userId: claimed.run.userId, node: claimed.node }
  }
}

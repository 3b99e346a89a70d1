import type { DraftsPart, DraftWriter, PreviousDrafts } from '../../drafts/index.ts'

/** An operation of a step that shows something, and is not going to commit. */
export interface RetractedStep {
  readonly id: string
  readonly name: string
  readonly userId: string
  readonly node: string
}

/** Dependencies of steps that show drafts. */
export interface StepDraftPorts {
  readonly writer: DraftWriter
  readonly part: DraftsPart
  /** Writes the outcome of the operation, without a notice, and with it the retraction. @throws database errors */
  retract(operation: RetractedStep): Promise<void>
  /** Reads what the steps of a run had shown before the given attempt. @throws database errors */
  previous(run: string, attempt: number): Promise<PreviousDrafts>
}

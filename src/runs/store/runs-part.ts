import { insertRun, insertStep, enterStep, type NewRun, type StepEntry } from '../../postgres/index.ts'
import type { Statement } from '../../core/index.ts'
import type { Fence, Part, PartEvent, PartScope } from '../../transaction/index.ts'
import { derivedId } from '../model/step-name.ts'
import { stateEvent } from './run-events.ts'

/** A step whose commit an operation is. */
export interface EnteredStep extends StepEntry {
  readonly name: string
}

type Contribution =
  | { readonly kind: 'start'; readonly run: NewRun }
  | { readonly kind: 'step'; readonly step: EnteredStep }
  | { readonly kind: 'result'; readonly json: string | null }

/** Runs that one attempt at an operation starts, and the step that it commits. */
export class RunsOfOperation {
  readonly operationId: string
  readonly #contributions
  #ordinal = 0

  constructor(scope: PartScope) {
    this.operationId = scope.operationId
    this.#contributions = scope.contributions<Contribution>()
  }

  /** The id of the next run that the operation starts: the same for each attempt at it. */
  nextRunId(): string {
    this.#ordinal += 1
    return derivedId('run', this.operationId, this.#ordinal)
  }

  /** The run begins if the operation commits. @throws LS_TRANSACTION_CLOSED */
  start(run: NewRun): void {
    this.#contributions.add({ kind: 'start', run })
  }

  /** The operation is the commit of a step: it commits only while the run is in that attempt. */
  enter(step: EnteredStep): void {
    this.#contributions.add({ kind: 'step', step })
  }

  /** Keeps the result of the step, as JSON text. */
  keep(json: string | null): void {
    this.#contributions.add({ kind: 'result', json })
  }

  get starts(): readonly NewRun[] {
    return this.#contributions.items.flatMap((item) => (item.kind === 'start' ? [item.run] : []))
  }

  get step(): EnteredStep | undefined {
    const item = this.#contributions.items.find(({ kind }) => kind === 'step')
    return item?.kind === 'step' ? item.step : undefined
  }

  get result(): string | null {
    const item = this.#contributions.items.find(({ kind }) => kind === 'result')
    return item?.kind === 'result' ? item.json : null
  }
}

/** The part of an operation that starts runs, and that commits a step of one. */
export class RunsPart implements Part<RunsOfOperation> {
  readonly name = 'runs'
  readonly #schema: string
  readonly #listeners: (() => void)[] = []

  constructor(schema: string) {
    this.#schema = schema
  }

  /** Adds a listener, called when runs that this node has started have committed. */
  onStarted(listener: () => void): void {
    this.#listeners.push(listener)
  }

  open(scope: PartScope): RunsOfOperation {
    return new RunsOfOperation(scope)
  }

  fences({ step }: RunsOfOperation): readonly Fence[] {
    if (step === undefined) return []
    return [{ locks: 'gate', key: step.run, statement: enterStep(this.#schema, step) }]
  }

  events({ starts }: RunsOfOperation): readonly PartEvent[] {
    return starts.map((run) => stateEvent(toShown(run), { state: 'pending', attempt: 0 }))
  }

  rows({ starts, step, result, operationId }: RunsOfOperation): readonly Statement[] {
    const begun = starts.map((run) => insertRun(this.#schema, run))
    if (step === undefined) return begun
    return [...begun, insertStep(this.#schema, { ...step, operation: operationId }, result)]
  }

  committed({ starts }: RunsOfOperation): void {
    if (starts.length > 0) for (const listener of this.#listeners) listener()
  }
}

function toShown({ id, task, channel, user }: NewRun) {
  return { id, task, channel, userId: user.id }
}

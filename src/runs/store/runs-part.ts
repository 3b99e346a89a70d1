import { mutationPoint } from '../../protocol/mutation-point.ts'
import {
  insertRun,
  insertStep,
  enterStep,
  stopRun,
  type NewRun,
  type StepEntry,
} from '../../postgres/index.ts'
import type { Statement } from '../../core/index.ts'
import type { Fence, Part, PartEvent, PartScope } from '../../transaction/index.ts'
import { effectOfStop } from '../model/run-decisions.ts'
import { derivedId } from '../model/step-name.ts'
import { layersOfRuns, stateEvent } from './run-events.ts'
import type { StoredRun } from './run-store.ts'

/** A step whose commit an operation is. */
export interface EnteredStep extends StepEntry {
  readonly name: string
}

type Contribution =
  | { readonly kind: 'start'; readonly run: NewRun }
  | { readonly kind: 'step'; readonly step: EnteredStep }
  /** A run that is to stop, as it was seen. */
  | { readonly kind: 'stop'; readonly run: StoredRun }
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

  /** The run is stopped if the operation commits, which it does only while the run is as it was seen. */
  stop(run: StoredRun): void {
    this.#contributions.add({ kind: 'stop', run })
  }

  /** Keeps the result of the step, as JSON text. */
  keep(json: string | null): void {
    this.#contributions.add({ kind: 'result', json })
  }

  get starts(): readonly NewRun[] {
    return this.#contributions.items.flatMap((item) => (item.kind === 'start' ? [item.run] : []))
  }

  get stops(): readonly StoredRun[] {
    return this.#contributions.items.flatMap((item) => (item.kind === 'stop' ? [item.run] : []))
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
  readonly #onStarted: (() => void)[] = []
  readonly #onStopped: ((run: string) => void)[] = []

  constructor(schema: string) {
    this.#schema = schema
  }

  /** Adds a listener, called when runs that this node has started have committed. */
  onStarted(listener: () => void): void {
    this.#onStarted.push(listener)
  }

  /** Adds a listener, called when a stop that this node has asked for has committed. */
  onStopped(listener: (run: string) => void): void {
    this.#onStopped.push(listener)
  }

  open(scope: PartScope): RunsOfOperation {
    return new RunsOfOperation(scope)
  }

  fences({ step, stops }: RunsOfOperation): readonly Fence[] {
    const fences: Fence[] = stops.map((run) => ({
      locks: 'gate',
      key: run.id,
      statement: stopRun(this.#schema, { id: run.id, ...run.facts }),
    }))
    if (step === undefined || mutationPoint('step committed without the gate')) return fences
    return [...fences, { locks: 'gate', key: step.run, statement: enterStep(this.#schema, step) }]
  }

  events({ starts, stops }: RunsOfOperation): readonly PartEvent[] {
    const cancelled = stops.filter(({ facts }) => effectOfStop(facts) === 'cancels')
    return [
      ...starts.map((run) => stateEvent(toShown(run), { state: 'pending', attempt: 0 })),
      ...cancelled.map((run) => stateEvent(run, { state: 'cancelled', attempt: run.facts.attempt })),
    ]
  }

  rows({ starts, step, result, operationId }: RunsOfOperation): readonly Statement[] {
    const begun = starts.map((run) => insertRun(this.#schema, run))
    if (step === undefined) return begun
    return [...begun, insertStep(this.#schema, { ...step, operation: operationId }, result)]
  }

  /** Names where a run that does not begin would have been seen. A step is quiet, and its own events name their layer. */
  layers({ starts }: RunsOfOperation): readonly string[] {
    return starts.length === 0 ? [] : layersOfRuns
  }

  committed({ starts, stops }: RunsOfOperation): void {
    if (starts.length > 0) for (const listener of this.#onStarted) listener()
    for (const { id } of stops) for (const listener of this.#onStopped) listener(id)
  }
}

function toShown({ id, task, channel, user }: NewRun) {
  return { id, task, channel, userId: user.id }
}

import type { Notice, RunState } from '../../../src/protocol/index.ts'

/** Schema of the simulation; any name would do. */
export const schema = 'lockstep'

export interface ModelEvent {
  readonly offset: number
  readonly operationId: string
  readonly type: string
  readonly data: string
  readonly atMs: number
}

export interface ModelOperation {
  readonly id: string
  readonly name: string
  readonly userId: string
  readonly node: string | null
  readonly inputHash: string
  readonly state: 'committed' | 'rolled_back'
  readonly result: string | null
  readonly notice: Notice | null
  readonly positions: Readonly<Record<string, number>> | null
}

export interface ModelIntents {
  readonly node: string
  readonly slot: number
  readonly batch: number
  readonly operations: readonly {
    readonly id: string
    readonly name: string
    readonly userId: string
    readonly inputHash: string
  }[]
}

/** An event that a settlement appends if it rolls the operation back. */
export interface ModelRollbackEvent {
  readonly operation: string
  readonly channel: string
  readonly type: string
  readonly data: string
}

export interface ModelLease {
  untilMs: number
  renewals: number
}

export interface ModelRun {
  readonly id: string
  readonly task: string
  readonly userId: string
  /** JSON text. */
  readonly startedBy: string
  readonly channel: string
  readonly input: string
  state: RunState
  attempt: number
  deaths: number
  node: string | null
  notBeforeMs: number
  isStopRequested: boolean
  endedAtMs: number | null
  result: string | null
}

export interface ModelStep {
  readonly run: string
  readonly name: string
  readonly result: string | null
}

export interface ModelThrows {
  readonly run: string
  readonly name: string
  readonly thrown: number
  readonly attempt: number
  readonly throws: number
}

/** State that a server stores: a crash loses it as a whole, and a replica lags behind in it. */
export interface ModelState {
  epoch: string
  pastEpochs: string[]
  /** The server is another than the one that the epoch was made on. */
  isOther: boolean
  readonly heads: Map<string, number>
  /** Events by channel, those included that were removed from the log. */
  readonly events: Map<string, ModelEvent[]>
  /** Offsets up to which the log of a channel was removed. */
  readonly trimmed: Map<string, number>
  readonly operations: Map<string, ModelOperation>
  readonly intents: Map<string, ModelIntents>
  /** Events to append on a rollback, by operation, part, key and node. */
  readonly rollbackEvents: Map<string, ModelRollbackEvent>
  readonly leases: Map<string, ModelLease>
  readonly runs: Map<string, ModelRun>
  /** Committed steps by run and name, in the order of their flushes. */
  readonly steps: Map<string, ModelStep>
  readonly tries: Map<string, ModelThrows>
}

export function emptyState(): ModelState {
  return {
    epoch: 'first',
    pastEpochs: [],
    isOther: false,
    heads: new Map(),
    events: new Map(),
    trimmed: new Map(),
    operations: new Map(),
    intents: new Map(),
    rollbackEvents: new Map(),
    leases: new Map(),
    runs: new Map(),
    steps: new Map(),
    tries: new Map(),
  }
}

/**
 * Makes a key of an operation, as `operationKey` does; written anew here, since the product's own may hold a planted
 * bug.
 */
export const keyOf = (id: string, userId: string): string => `${id} ${userId}`

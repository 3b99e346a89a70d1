import type { Offsets } from './offsets.ts'

/**
 * How an operation is carried out. `enforce`: events leave after the COMMIT and the user of a rollback is notified. `off`: as in an
 * application without Lockstep: events leave at once and nobody is notified of a rollback. `observe`: as `off`, but
 * every violation is measured and reported.
 */
export type Mode = 'off' | 'observe' | 'enforce'

export const modes: readonly Mode[] = ['off', 'observe', 'enforce']

/** A place besides the database that shows what an operation did. */
export type Layer = 'websocket' | 'notice' | 'bus' | 'client' | 'cache' | 'agent'

/** Report of an operation whose ending the database has confirmed. */
export interface OperationReport {
  readonly operationId: string
  readonly operation: string
  readonly userId: string
  readonly mode: Mode
  readonly outcome: 'committed' | 'rolled_back'
  /** Time at which its transaction began, in monotonic milliseconds. */
  readonly beganAt: number
  /** Time at which the answer to COMMIT, or the reason of the rollback, was known, in monotonic milliseconds. */
  readonly endedAt: number
  readonly offsets: Offsets
  /** Set where a notice of the rollback is written and will be shown; false where the mode notifies nobody. */
  readonly isNotified: boolean
}

/** A layer has shown something of an operation for the first time on this node. */
export interface LayerReport {
  readonly layer: Layer
  readonly operationId: string
  /** Id of the operation's user, where it is known. */
  readonly userId?: string | undefined
  /** Time of the report, in monotonic milliseconds. */
  readonly at: number
  /** Milliseconds by which `at` may be wrong in either direction. Default 0. */
  readonly errorMs?: number
  readonly channel?: string
  /** Offset of the event; absent for an event that is in no log. */
  readonly offset?: number
  /** Time at which the flush of its transaction ran, by the database's clock, in milliseconds since the epoch. */
  readonly flushedAt?: number
  /** The event was read from the log, where nothing is seen before its commit. */
  readonly wasRead?: true
  /** Stack of the call that sent it, where it can be had. */
  readonly stack?: string
}

/** Reports an event or reply that was given to a connection that may not have it. */
export interface IsolationReport {
  readonly operationId: string
  readonly channel: string
  /** Id of the user whose connection got it. */
  readonly userId: string
  readonly at: number
}

/**
 * Reports of the rooms about themselves, so that the monitor can measure the distance between the layers without
 * knowing their insides. Calls return at once and never throw.
 */
export interface Probe {
  /** False when no reports are wanted; callers then do not even read the clock. */
  readonly isOn: boolean
  ended(report: OperationReport): void
  reached(report: LayerReport): void
  exposed(report: IsolationReport): void
}

/** Probe of the rooms, which are made before the monitor that hears them. */
export class ProbeRelay implements Probe {
  readonly isOn: boolean
  #monitor: Probe = silentProbe

  /** @param isOn whether the monitor will want reports */
  constructor(isOn: boolean) {
    this.isOn = isOn
  }

  /** Passes reports on from now on. Earlier ones are dropped: nothing is measured before a node starts. */
  attach(monitor: Probe): void {
    this.#monitor = monitor
  }

  ended(report: OperationReport): void {
    this.#monitor.ended(report)
  }

  reached(report: LayerReport): void {
    this.#monitor.reached(report)
  }

  exposed(report: IsolationReport): void {
    this.#monitor.exposed(report)
  }
}

export const silentProbe: Probe = { isOn: false, ended() {}, reached() {}, exposed() {} }

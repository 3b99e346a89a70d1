import type { Offsets } from './channel.ts'

/**
 * How an operation is carried out. `enforce`: events leave after the COMMIT and a rollback is told. `off`: as in an
 * application without Lockstep: events leave at once and nobody is told of a rollback. `observe`: as `off`, but
 * every violation is measured and reported.
 */
export type Mode = 'off' | 'observe' | 'enforce'

export const modes: readonly Mode[] = ['off', 'observe', 'enforce']

/** A place besides the database that shows what an operation did. */
export type Layer = 'websocket' | 'notice' | 'bus' | 'client' | 'cache' | 'agent'

/** The database has said how an operation ended. */
export interface EndReport {
  readonly operationId: string
  readonly operation: string
  readonly userId: string
  readonly mode: Mode
  readonly outcome: 'committed' | 'rolled_back'
  /** When its transaction began, in monotonic milliseconds. */
  readonly beganAt: number
  /** When the answer to COMMIT, or what made it roll back, was known, in monotonic milliseconds. */
  readonly endedAt: number
  readonly offsets: Offsets
  /** A notice of the rollback is written and will be shown; false where the mode tells nobody. */
  readonly isTold: boolean
}

/** A layer has shown something of an operation for the first time on this node. */
export interface LayerReport {
  readonly layer: Layer
  readonly operationId: string
  /** Whose operation it is, where that is known. */
  readonly userId?: string | undefined
  /** In monotonic milliseconds. */
  readonly at: number
  /** Milliseconds by which `at` may be wrong in either direction. Default 0. */
  readonly errorMs?: number
  readonly channel?: string
  /** Absent for what is in no log. */
  readonly offset?: number
  /** When the flush of its transaction ran, by the database's clock, in milliseconds since the epoch. */
  readonly flushedAt?: number
  /** It came out of the log, where nothing is seen before its commit. */
  readonly wasRead?: true
  /** Where it was sent from, where that can be had. */
  readonly stack?: string
}

/** Something was given to a connection that may not have it. */
export interface IsolationReport {
  readonly operationId: string
  readonly channel: string
  /** Of the connection that got it. */
  readonly userId: string
  readonly at: number
}

/**
 * What the rooms tell of themselves, so that the distance between the layers can be measured by somebody who knows
 * none of their insides. Calls return at once and never throw.
 */
export interface Probe {
  /** False: nothing is wanted, so do not even read the clock. */
  readonly isOn: boolean
  ended(report: EndReport): void
  reached(report: LayerReport): void
  exposed(report: IsolationReport): void
}

export const silentProbe: Probe = { isOn: false, ended() {}, reached() {}, exposed() {} }

import type { Build } from '../harness/built.ts'
import type { BenchPostgres } from '../harness/database.ts'

export interface Figure {
  readonly name: string
  readonly better: 'higher' | 'lower'
}

/** Results by the name of the figure; NaN for a figure that this machine cannot measure. */
export type Measured = Readonly<Record<string, number>>

/** A build at work, in processes and with a database of its own. */
export interface Runner {
  turn(seconds: number): Promise<Measured>
  close(): Promise<void>
}

export interface Setting {
  readonly build: Build
  readonly postgres: BenchPostgres
  /**
   * Limit of the warm-up, however few operations it then has: a busy machine, and a short comparison, must come to an
   * end.
   */
  readonly warmUpSeconds: number
}

export interface ComparedLane {
  readonly name: string
  readonly about: string
  readonly figures: readonly Figure[]
  /** Every turn gives the same: one round says all. */
  readonly exact?: true
  /** Resolves when it is warm. */
  readonly start: (setting: Setting) => Promise<Runner>
}

import type { BenchPostgres } from './database.ts'
import type { Ratio } from './rounds.ts'

export interface LaneOptions {
  /** Measures only the one line of figures. */
  readonly quick: boolean
  readonly rounds: number
  /** Duration of one variant in one round. */
  readonly seconds: number
  readonly sockets: number
}

export interface LaneContext extends LaneOptions {
  /** Starts the run's server at the first call, with `fsync` on; later calls get the same one. */
  readonly postgres: () => Promise<BenchPostgres>
  readonly say: (line: string) => void
}

export type Cell = string | number

export interface Table {
  readonly title: string
  /** Text between the title and the table: the things measured, and how. */
  readonly note?: string
  readonly columns: readonly string[]
  readonly rows: readonly (readonly Cell[])[]
}

/** Bars, one group for each label. */
export interface Plot {
  /** Part of the file's name. */
  readonly name: string
  readonly title: string
  readonly unit: string
  readonly labels: readonly string[]
  readonly series: readonly { readonly name: string; readonly values: readonly number[] }[]
}

/** Findings of a lane, in the form that the documentation is made from. */
export interface LaneFindings {
  readonly tables: readonly Table[]
  readonly plots?: readonly Plot[]
  /** Figures of the one summary line. */
  readonly figures: Readonly<Record<string, number>>
  /** Measurements that could not be taken here, and why. */
  readonly missing?: readonly string[]
}

export interface Lane {
  readonly name: string
  readonly about: string
  /** Minutes that a whole run takes here. */
  readonly minutes: number
  readonly run: (context: LaneContext) => Promise<LaneFindings>
}

export const rounded = (value: number, digits = 2): number => Number(value.toFixed(digits))
/** Three significant digits are what a histogram holds, and more than the noise allows. */
export const shown = (value: number): number => (value === 0 ? 0 : Number(value.toPrecision(3)))
/** A ratio with its lowest and highest round. */
export const times = ({ median, lowest, highest }: Ratio): string =>
  `${median.toFixed(2)} × (${lowest.toFixed(2)} to ${highest.toFixed(2)})`
